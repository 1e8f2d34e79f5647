"""The call tree gives every record one line, in order within its goroutine, in whole trees where it can."""

from __future__ import annotations

import random

import pytest

from undergo.events.calls import Call, CallOpened, End
from undergo.views import tree
from undergo.views.style import COLOUR
from undergo.views.tree import CallTree

NAMES = {1: "main.handleOrder", 2: "main.price", 3: "net/http.(*conn).serve"}


def opened(id_: int, goid: int, func: int, depth: int = 0, start: int = 0, pid: int = 7) -> CallOpened:
    """A call that has begun."""
    return CallOpened(id_, 0, pid, 70, goid, func, depth, start)


def call(
    id_: int, goid: int, func: int, depth: int = 0, wall: int = 1234, end: End = "return", pid: int = 7
) -> Call:
    """A call that has ended."""
    return Call(id_, 0, pid, 70, goid, func, depth, 0, wall, end)


TWO: list[Call | CallOpened] = [
    opened(1, 17, 3),
    opened(2, 17, 1, 1),
    call(3, 17, 2, 2, 87),
    call(4, 9, 2),
    call(5, 10, 2, wall=999),
    call(6, 17, 2, 2, 123_456_789, "panic"),
    call(2, 17, 1, 1, 125_000_000, "panic"),
    opened(7, 18, 1),
    call(8, 18, 2, 1, 5_000_000),
    call(7, 18, 1, 0, 6_000_000_000, "goexit"),
    call(1, 17, 3, 0, 130_000_000),
]


def test_two_goroutines() -> None:
    """Interleaved goroutines come out as whole trees; leaf calls alone need no empty lines between them."""
    view = CallTree(NAMES)
    expected = """\
   DURATION      GOID  FUNCTION
   1.234 us         9  main.price()
     999 ns        10  main.price()

                   18  main.handleOrder() {
   5.000 ms        18    main.price()
   6.000 s         18  } main.handleOrder !goexit

                   17  net/http.(*conn).serve() {
                   17    main.handleOrder() {
      87 ns        17      main.price()
 123.456 ms        17      main.price() !panic
 125.000 ms        17    } main.handleOrder !panic
 130.000 ms        17  } net/http.(*conn).serve"""
    assert expected.split("\n") == [view.header(), *view.feed(TWO, 0)]
    assert [] == view.finish()


def test_colour() -> None:
    """Slow durations are coloured by magnitude, abnormal ends too, all else stays plain."""
    view = CallTree(NAMES, COLOUR)
    assert "\x1b[1m   DURATION      GOID  FUNCTION\x1b[0m" == view.header()
    assert [
        "   1.234 us         9  main.price()",
        "\x1b[33m   2.000 ms\x1b[0m         9  main.price()",
        "\x1b[31m   1.000 s \x1b[0m         9  main.price() \x1b[31m!died\x1b[0m",
    ] == view.feed([call(1, 9, 2), call(2, 9, 2, wall=2_000_000), call(3, 9, 2, wall=10**9, end="died")], 0)


def test_several_processes() -> None:
    """With a column for the process, equal goroutine ids of two processes are kept apart."""
    view = CallTree(NAMES, show_pid=True)
    records: list[Call | CallOpened] = [
        opened(1, 1, 1, pid=7),
        opened(2, 1, 1, pid=8),
        call(1, 1, 1, pid=7),
        call(2, 1, 1, pid=8),
    ]
    assert (
        """\
   DURATION       PID      GOID  FUNCTION
                    7         1  main.handleOrder() {
   1.234 us         7         1  } main.handleOrder

                    8         1  main.handleOrder() {
   1.234 us         8         1  } main.handleOrder""".split("\n")
        == [view.header(), *view.feed(records, 0)]
    )


def test_patience() -> None:
    """A tree that is slow to end is shown after half a second, and says when it goes on."""
    view = CallTree(NAMES)
    assert [] == view.feed([opened(1, 17, 1)], 1_000)
    assert [] == view.flush_due(1_000 + tree.PATIENCE_NS - 1)
    assert ["                   17  main.handleOrder() {"] == view.flush_due(1_000 + tree.PATIENCE_NS)
    assert [
        "",
        "   1.234 us         9  main.price()",
        "",
        "                   17  (continued)",
        "   1.234 us        17  } main.handleOrder",
    ] == view.feed([call(2, 9, 2), call(1, 17, 1)], 10**9)


def test_still_open_at_the_end() -> None:
    """Calls that never ended have one line each, innermost first, with the time they have taken so far."""
    view = CallTree(NAMES)
    view.feed([opened(1, 17, 3, start=0), call(2, 17, 2, 1), opened(3, 17, 1, 1, start=10**9)], 0)
    assert [
        "                   17  net/http.(*conn).serve() {",
        "   1.234 us        17    main.price()",
        "                   17    main.handleOrder() { ... still open after 1.200 s",
        "                   17  } net/http.(*conn).serve ... still open after 2.200 s",
    ] == view.finish(2_200_000_000)


def test_open_calls_as_records() -> None:
    """The events package may report open calls itself; they look the same."""
    view = CallTree(NAMES)
    assert ["                    9  main.price() { ... still open after 1.000 ms"] == view.feed(
        [call(1, 9, 2, wall=1_000_000, end="open")], 0
    )
    assert [
        "",
        "                   17  main.handleOrder() {",
        "   1.234 us        17    main.price()",
        "                   17  } main.handleOrder ... still open after 5.000 us",
    ] == view.feed([opened(2, 17, 1), call(3, 17, 2, 1), call(2, 17, 1, wall=5_000, end="open")], 0)


def test_lost_end() -> None:
    """An open call whose end never came is closed, and said to be, once something happens above it."""
    view = CallTree(NAMES)
    assert [
        "                   17  net/http.(*conn).serve() {",
        "                   17    main.handleOrder() {",
        "   1.234 us        17      main.price()",
        "                   17    } main.handleOrder !end lost",
        "   1.234 us        17  } net/http.(*conn).serve",
    ] == view.feed([opened(1, 17, 3), opened(2, 17, 1, 1), call(3, 17, 2, 2), call(1, 17, 3)], 0)


def test_system_stacks_of_two_threads() -> None:
    """Goroutine 0 is every thread's system stack: there the thread tells them apart."""
    view = CallTree(NAMES)
    first, second = CallOpened(1, 0, 7, 70, 0, 1, 0, 0), CallOpened(2, 0, 7, 71, 0, 1, 0, 0)
    lines = view.feed([first, second, Call(1, 0, 7, 70, 0, 1, 0, 0, 1, "return")], 0)
    assert [
        "                    0  main.handleOrder() {",
        "       1 ns         0  } main.handleOrder",
    ] == lines


def test_names_cannot_reach_the_terminal() -> None:
    """Control characters of a name are shown, and an unknown function has a number."""
    view = CallTree(["main.\x1b[2J"])
    assert ["   1.234 us         9  main.\\x1b[2J()", "   1.234 us         9  function#5()"] == view.feed(
        [call(1, 9, 0), call(2, 9, 5)], 0
    )


def test_deep_recursion_stays_narrow() -> None:
    """Below a certain depth lines say their depth instead of moving on to the right."""
    view = CallTree(NAMES)
    (line,) = view.feed([call(1, 9, 2, depth=20_000)], 0)
    assert line.endswith("  [20000] main.price()")
    assert len(line) < 140


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide tree, many goroutines, and goroutines that never end are let go in time, with every line."""
    monkeypatch.setattr(tree, "MAX_LINES_OF_ONE", 10)
    monkeypatch.setattr(tree, "MAX_LINES", 30)
    monkeypatch.setattr(tree, "MAX_GOROUTINES", 100)
    view = CallTree(NAMES)
    lines = view.feed([opened(1, 1, 1), *(call(2 + i, 1, 2, 1) for i in range(95))], 0)
    assert 90 == len(lines)
    lines += view.feed([opened(1000 + i, 1000 + i, 1) for i in range(150)], 0)
    assert 30 >= view._count
    assert 100 == len(view._goroutines)
    lines += view.finish()
    assert 95 == sum(line.endswith("main.price()") for line in lines)
    assert 151 == sum("main.handleOrder() {" in line for line in lines)
    assert 51 == sum(line.endswith("!end lost") for line in lines)


@pytest.mark.parametrize("seed", range(20))
def test_no_line_is_lost_or_doubled(seed: int) -> None:
    """However records are cut into batches and however time goes, each goroutine's lines are the same."""
    chance = random.Random(seed)
    queues: list[list[Call | CallOpened]] = []
    for goid in range(1, 6):
        queue: list[Call | CallOpened] = []
        for tree_ in range(10):
            base = goid * 1000 + tree_ * 10
            queue += [
                opened(base, goid, 1),
                call(base + 1, goid, 2, 1, base + 1),
                call(base, goid, 1, 0, base),
            ]
        queues.append(queue)
    records = []
    while any(queues):
        records.append(chance.choice([queue for queue in queues if queue]).pop(0))
    view, now, lines, start = CallTree(NAMES), 0, [], 0
    while start < len(records):
        end = start + chance.randrange(1, 9)
        lines += view.feed(records[start:end], now)
        now += chance.randrange(tree.PATIENCE_NS)
        lines += view.flush_due(now)
        start = end
    lines += view.finish()
    lines = [line for line in lines if line and "(continued)" not in line]
    assert len(records) == len(lines)
    for goid in range(1, 6):
        whole = CallTree(NAMES).feed([record for record in records if record.goid == goid], 0)
        assert whole == [line for line in lines if int(line[11:21]) == goid]
