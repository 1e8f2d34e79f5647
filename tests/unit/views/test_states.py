"""Goroutine states for people: one line a change, and a summary."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from undergo.events.states import SUMMED, Birth, Longest, StateChange, Stays
from undergo.goexe.function import Source
from undergo.views.states import header, line, summary
from undergo.views.style import COLOUR

TS = 1_700_000_000_123_456_789
CLOCK = time.strftime("%H:%M:%S", time.localtime(TS // 1_000_000_000)) + ".123456"
RAN = StateChange(TS, 4711, 4712, 17, "runnable", "running", "", 0, 1_200)
WOKEN = StateChange(TS, 4711, 4712, 17, "waiting", "runnable", "chan receive", 23, 5_000_000)
WAITS = StateChange(TS, 4711, 4712, 17, "running", "waiting", "chan receive", 0, 900)
DIED = StateChange(TS, 4711, 4712, 17, "running", "dead", "", 0, 900, 2_500_000)
BORN = Birth(
    TS, 4711, 4712, 18, 17, Source("main.serve", "/src/main.go", 42), Source("main.work", "/src/work.go", 7)
)
EVIL = "a\x1b[31m\nb\u202e"
SGR = re.compile(r"\x1b\[\d+m")


def detail(row: StateChange | Birth) -> str:
    """What stands behind the columns."""
    return line(row).split(" 4712  ", 1)[1]


def test_columns_stand_below_their_names() -> None:
    """The header's words end, or begin, where the values do; microseconds are cut."""
    head, text = header(), line(RAN)
    assert f"{CLOCK}  running         17     4711     4712  after 1.20 us runnable" == text
    assert head.index("STATE") == text.index("running")
    for name, value in (("GOID", "17"), ("PID", "4711"), ("TID", "4712")):
        assert re.search(rf"\b{name}\b", head).end() == re.search(rf"\b{value}\b", text).end()  # type: ignore[union-attr]
    assert head.startswith("TIME")


def test_the_end_of_a_wait_says_why_how_long_and_by_whom() -> None:
    """The reason stands with the state it belongs to."""
    assert "after 5.00 ms waiting (chan receive), by 23" == detail(WOKEN)
    # a timer, the poller or the collector did it
    assert "after 5.00 ms waiting (chan receive)" == detail(replace(WOKEN, waker=0))


def test_the_beginning_of_a_wait_says_what_for() -> None:
    """Then how long it ran."""
    assert "chan receive, after 900 ns running" == detail(WAITS)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (replace(RAN, spent_ns=None), "was runnable since before the trace"),
        (replace(WOKEN, spent_ns=None, reason=""), "was waiting since before the trace, by 23"),
        (replace(WAITS, spent_ns=None), "chan receive, was running since before the trace"),
        (replace(RAN, spent_ns=0), "after 0 ns runnable"),
    ],
)
def test_a_state_from_before_the_trace_has_no_length(row: StateChange, text: str) -> None:
    """Not knowing it is said, and is not 0."""
    assert text == detail(row)


def test_a_death_says_how_long_it_lived() -> None:
    """Only of those whose birth was seen."""
    assert "after 900 ns running, lived 2.50 ms" == detail(DIED)
    assert "after 900 ns running, lived 0 ns" == detail(replace(DIED, lifetime_ns=0))
    assert "after 900 ns running" == detail(replace(DIED, lifetime_ns=None))


def test_a_birth_says_where() -> None:
    """Its parent, the go statement and the function it starts in, as far as they are known; it is runnable."""
    assert line(BORN).startswith(f"{CLOCK}  runnable        18     4711     4712  ")
    assert "born of 17 at main.serve (main.go:42), starts in main.work (work.go:7)" == detail(BORN)
    assert "born of the runtime" == detail(replace(BORN, parent=0, statement=None, start=None))
    assert "born of 17, starts in main.work (work.go:7)" == detail(replace(BORN, statement=None))


def test_wide_numbers_push_the_line_but_stay_apart() -> None:
    """Goids count up for as long as a program runs."""
    assert " 123456789012     4711 " in line(replace(RAN, goid=123456789012))


@pytest.mark.parametrize(
    "row",
    [
        replace(WAITS, reason=EVIL),
        replace(WOKEN, reason=EVIL),
        replace(BORN, statement=Source(EVIL, "main.go", 1)),
        replace(BORN, statement=Source("main.f", EVIL, 1)),
        replace(BORN, start=Source(EVIL, EVIL, 1)),
    ],
)
def test_foreign_names_cannot_reach_the_terminal(row: StateChange | Birth) -> None:
    """Control characters of reasons, functions and files are made visible, in colour too."""
    assert line(row).isprintable()
    assert "a\\x1b[31m\\nb\\u202e" in line(row)
    assert SGR.sub("", line(row, COLOUR)) == line(row)
    assert "\x1b[31m" not in line(row, COLOUR)


@pytest.mark.parametrize(
    ("state", "colour"),
    [
        ("runnable", COLOUR.warm),
        ("running", COLOUR.good),
        ("syscall", COLOUR.accent),
        ("waiting", COLOUR.waiting),
        ("dead", COLOUR.dim),
        ("preempted", COLOUR.dim),
        ("12", COLOUR.dim),
    ],
)
def test_a_state_has_its_colour(state: str, colour: str) -> None:
    """The new state, padding included; those of a clock have the clock's colours."""
    assert f"  {colour}{state:9}{COLOUR.reset} " in line(replace(RAN, after=state), COLOUR)


@pytest.mark.parametrize("row", [RAN, WOKEN, WAITS, DIED, BORN, replace(RAN, spent_ns=None)])
def test_colour_changes_nothing_but_colour(row: StateChange | Birth) -> None:
    """Plain output is the same text, without a single escape."""
    assert "\x1b" in line(row, COLOUR)
    assert "\x1b" not in line(row) + header()
    assert (line(row), header()) == (SGR.sub("", line(row, COLOUR)), SGR.sub("", header(COLOUR)))


ROWS = [
    Stays(7, "running", "", 1_234_567, 5_000_000_000, 1_000, 20_000, 300_000),
    Stays(7, "waiting", "", 3, 60_000_000, 20_000_000, 29_000_000, 30_000_000),
    Stays(7, "waiting", "chan receive", 2, 50_000_000, 20_000_000, 29_000_000, 30_000_000),
]
LONGEST = {
    "waiting": [Longest(40_000_000, 9, 7, "sleep", True), Longest(30_000_000, 3, 7, "chan receive", False)],
    "runnable": [Longest(15, 4, 7, "", False)],
    "running": [],
}


def test_a_summary_of_one_process() -> None:
    """States with their wait reasons below, the goroutines longest in each state that has any, and the totals."""
    assert (
        """\
      COUNT    TOTAL      P50      P99      MAX  STATE
  1,234,567   5.00 s  1.00 us  20.0 us   300 us  running
          3  60.0 ms  20.0 ms  29.0 ms  30.0 ms  waiting
          2  50.0 ms  20.0 ms  29.0 ms  30.0 ms    chan receive

longest runnable
     15 ns  goroutine 4

longest waiting
   40.0 ms  goroutine 9, sleep, and still is
   30.0 ms  goroutine 3, chan receive

1,234 goroutines were born and 56 died
stays that began before the trace are not in the table; p50, p99 are interpolated""".splitlines()
        == summary(ROWS, LONGEST, 1234, 56)
    )


def test_a_summary_of_several_processes_tells_them_apart() -> None:
    """Each row and each goroutine has its process."""
    lines = summary([*ROWS, replace(ROWS[0], pid=1234567)], LONGEST, 0, 0)
    assert "    PID       COUNT    TOTAL" in lines[0]
    assert "      7           2  50.0 ms  20.0 ms  29.0 ms  30.0 ms    chan receive" == lines[3]
    assert lines[4].startswith("1234567   1,234,567   5.00 s ")
    assert [len(lines[0])] * 2 == [text.index("running") + len("STATE") for text in (lines[1], lines[4])]
    assert "   40.0 ms  goroutine 9 of 7, sleep, and still is" in lines


def test_a_summary_of_nothing() -> None:
    """It says so, and has the counts all the same."""
    lines = summary([], {state: [] for state in SUMMED}, 0, 0)
    assert "no goroutine changed its state" == lines[1]
    assert "0 goroutines were born and 0 died" in lines
    assert not [text for text in lines if text.startswith("longest")]


def test_foreign_reasons_in_a_summary() -> None:
    """They are made visible in the table and with the longest."""
    lines = summary(
        [replace(ROWS[2], reason=EVIL)], {"waiting": [Longest(1, 2, 7, EVIL, False)]}, 0, 0, COLOUR
    )
    shown = [text for text in lines if "a\\x1b[31m\\nb\\u202e" in text]
    assert 2 == len(shown)
    assert all(SGR.sub("", text).isprintable() for text in lines)
    assert "\x1b[31m" not in "".join(lines)


def test_colour_of_a_summary() -> None:
    """States and their reasons have one colour; plain text is the same without."""
    coloured, plain = summary(ROWS, LONGEST, 1, 2, COLOUR), summary(ROWS, LONGEST, 1, 2)
    assert plain == [SGR.sub("", text) for text in coloured]
    assert "\x1b" not in "".join(plain)
    assert coloured[1].endswith(f"{COLOUR.good}running{COLOUR.reset}")
    assert coloured[3].endswith(f"{COLOUR.waiting}  chan receive{COLOUR.reset}")
