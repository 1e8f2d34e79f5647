"""The timeline: bars where and as long as calls were, in the order of their beginnings, within the width."""

from __future__ import annotations

import re
from itertools import product

import pytest

from undergo.events.calls import Call, End, Split
from undergo.views.style import COLOUR, PLAIN, cells
from undergo.views.timeline import LEGEND, Timeline

NAMES = {1: "main.first", 2: "main.second", 3: "example.com/a/very/long/path/to/it.(*Server).handleTheOrder"}
PROGRAMS = {1: "web", 2: "store", 3: "store"}
MS = 1_000_000
BASE = 1_700_000_000_000_000_000


def call(
    func: int,
    start: int,
    wall: int,
    *,
    depth: int = 0,
    end: End = "return",
    split: Split | None = None,
    pid: int = 7,
    goid: int = 17,
) -> Call:
    """A call of so many ms, so many ms after the first."""
    return Call(1, 0, pid, 70, goid, func, depth, BASE + start * MS, wall * MS, end, split)


def drawn(*calls: Call, width: int = 120, names: dict[int, str] = NAMES) -> list[str]:
    timeline = Timeline(names, PROGRAMS)
    timeline.feed(calls)
    return timeline.lines(width)


def rows(lines: list[str]) -> list[str]:
    """The lines of calls."""
    return lines[1 : lines.index("")]


def bar(line: str) -> tuple[int, int]:
    """The column where a line's bar begins, and its length."""
    found = re.search("[█▓▒░─]+", line)
    assert found
    return found.start(), found.end() - found.start()


def test_the_whole_picture() -> None:
    """Two programs on one axis."""
    calls = call(2, 50, 50, depth=1, pid=8, goid=3), call(1, 0, 100), call(1, 75, 25, end="panic")
    lines = drawn(*calls, width=80)
    picture = """\
    AFTER  PROGRAM                                 WALL  FUNCTION
     0 ns  web/7 g17   ██████████████████████    100 ms  main.first
  50.0 ms  store/8 g3             ███████████   50.0 ms    main.second
  75.0 ms  web/7 g17                   ██████   25.0 ms  main.first !panic
"""
    assert [*picture.split("\n")] == [line.rstrip() for line in lines]


def test_nothing_to_draw() -> None:
    """Without calls there is no picture, not even a heading."""
    assert [] == drawn()


def test_order_of_beginnings() -> None:
    """Calls come as they end, inner ones first; they are drawn as they began, outer ones first."""
    lines = drawn(call(2, 20, 1), call(2, 10, 5, depth=1), call(1, 10, 5), call(1, 0, 100))
    assert [
        ("0 ns", "main.first"),
        ("10.0 ms", "main.first"),
        ("10.0 ms", "  main.second"),
        ("20.0 ms", "main.second"),
    ] == [(line[:9].strip(), line[line.rindex("ms  ") + 4 :]) for line in rows(lines)]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_bars_stand_where_calls_were(width: int) -> None:
    """Beginning and length are those of the call, to the column; the longest has all of it."""
    calls = [call(1, 0, 1000), call(2, 100, 300), call(1, 250, 750), call(2, 500, 1), call(1, 999, 1)]
    found = [bar(line) for line in rows(drawn(*calls, width=width))]
    start, whole = found[0]
    assert whole >= width // 3
    for (column, length), expected in zip(found, calls, strict=True):
        after, wall = (expected.start_ts_ns - BASE) / MS, expected.wall_ns / MS
        assert abs(column - start - after * whole / 1000) < 1
        assert 0 <= length - wall * whole / 1000 <= 1
        assert column + length <= start + whole


def test_no_call_is_too_short_for_a_bar() -> None:
    """Not even one without any time, at the very end, or alone."""
    found = [bar(line) for line in rows(drawn(call(1, 0, 1000), call(2, 0, 0), call(2, 1000, 0)))]
    start, whole = found[0]
    assert [(start, whole), (start, 1), (start + whole - 1, 1)] == found
    assert 1 == bar(rows(drawn(call(1, 0, 0)))[0])[1]


ENDS: list[End] = ["return", "panic", "goexit", "died", "open"]


@pytest.mark.parametrize("end", ENDS)
def test_ends_are_marked(end: End) -> None:
    """Every end but a return."""
    (line,) = rows(drawn(call(1, 0, 5, end=end)))
    assert line.endswith("main.first" if end == "return" else f"main.first !{end}")


def test_depth_indents() -> None:
    """Two columns for each traced caller, four levels at most."""
    lines = rows(drawn(*(call(1, n, 100, depth=n) for n in range(7))))
    indents = [len(line) - len("main.first") - line.rindex("ms  ") - 4 for line in lines]
    assert [0, 2, 4, 6, 8, 8, 8] == indents


def test_where_the_time_went() -> None:
    """A bar has the shares of the call's clock, in the order of the legend; without a clock it is whole."""
    split = Split(25 * MS, 25 * MS, 0, 10 * MS, 40 * MS, {})
    lines = drawn(call(1, 0, 100, split=split), call(1, 0, 100))
    ink = re.search("█+▓+░+─+", lines[1])
    assert ink
    whole = len(ink[0])
    assert bar(lines[2])[1] == whole
    for mark, share in (("█", 25), ("▓", 25), ("▒", 0), ("░", 10), ("─", 40)):
        assert abs(ink[0].count(mark) - share * whole / 100) <= 1
    assert LEGEND == lines[-1]
    assert LEGEND not in drawn(call(1, 0, 100))
    assert "█" * whole in lines[2]


def test_the_last_calls_only() -> None:
    """Those that ended last are kept; how many there were is told."""
    timeline = Timeline(NAMES, PROGRAMS, rows=3)
    timeline.feed(call(1, n, 1) for n in range(1000))
    timeline.feed([call(2, 500, 1_000)])
    assert 1001 == timeline.seen
    lines = timeline.lines(120)
    assert ["main.second", "main.first", "main.first"] == [line.split()[-1] for line in rows(lines)]
    assert "the last 3 of 1,001 calls" == lines[-1]
    few = drawn(call(1, 0, 1))
    assert "" == few[-1]


def test_calls_that_were_missed() -> None:
    """Calls the kernel counted but could not send are told."""
    timeline = Timeline(NAMES, PROGRAMS)
    timeline.feed([call(1, 0, 1)])
    assert (
        "1,234 calls came too fast to be shown here; they are in the table" == timeline.lines(120, 1234)[-1]
    )


@pytest.mark.parametrize("width", [80, 81, 100, 120, 200])
@pytest.mark.parametrize("end", ENDS)
def test_the_width_is_kept(width: int, end: End) -> None:
    """With long and short names, deep calls, marked ends, large numbers, a legend and notes."""
    split = Split(1, 1, 1, 1, 5 * MS - 4, {})
    calls = [
        call(func, start, 5, depth=depth, split=split, pid=pid, goid=goid, end=kind)
        for func, depth, (pid, goid), kind, start in product(
            NAMES, (0, 9), ((7, 1), (4_194_304, 123_456_789)), ("return", end), (0, 999_999)
        )
    ]
    timeline = Timeline(
        {**NAMES, 2: "main.\u4e16\u754c" * 9}, {**PROGRAMS, 3: "a-program-with-quite-a-long-name"}
    )
    timeline.feed(calls)
    timeline.feed(calls)
    assert max(map(cells, timeline.lines(width, 10**9))) <= width


def test_a_wide_terminal_shows_whole_names() -> None:
    """There is room for the name and the bar."""
    (line,) = rows(drawn(call(3, 0, 5), width=200))
    assert line.endswith(NAMES[3])
    assert bar(line)[1] > 60


def test_different_names_stay_different() -> None:
    """However little room there is."""
    names = {n: f"example.com/a/very/long/path/to/it.(*Server{n}).handleTheOrderOfSomebody" for n in (1, 2)}
    first, second = rows(drawn(call(1, 0, 5), call(2, 0, 5), width=80, names=names))
    assert first.split()[-1] != second.split()[-1]


def test_foreign_text_cannot_act_on_the_terminal() -> None:
    """Control characters in names of functions and programs are made visible."""
    timeline = Timeline({1: "main.\x1b[31mred\u202e"}, {1: "we\x07b\n"})
    timeline.feed([call(1, 0, 5)])
    lines = timeline.lines(200)
    assert all(line.isprintable() for line in lines)
    assert "main.\\x1b[31mred\\u202e" in lines[1]
    assert "we\\x07b\\n/7" in lines[1]


def test_colours() -> None:
    """They change nothing but the colours, and there are none when plain."""
    split = Split(1 * MS, 1 * MS, 1 * MS, 1 * MS, 1 * MS, {})
    calls = [call(1, 0, 5, split=split), call(2, 0, 5), call(1, 1, 5, end="died")]
    pictures = []
    for style in (PLAIN, COLOUR):
        timeline = Timeline(NAMES, PROGRAMS, style, rows=2)
        timeline.feed(calls[1:])
        timeline.feed(calls[:1])
        pictures.append(timeline.lines(120))
    plain, coloured = pictures
    assert not any("\x1b" in line for line in plain)
    assert plain == [re.sub(r"\x1b\[\d+m", "", line) for line in coloured]
    text = "\n".join(coloured)
    assert f"{COLOUR.hot}!died{COLOUR.reset}" in text
    assert all(f"{COLOUR.of_bin(bin)}" in text for bin in ("running", "syscall", "waiting"))
