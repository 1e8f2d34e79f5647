"""Where time went, in words, shares and JSON."""

from __future__ import annotations

import json

import pytest

from undergo.events.calls import Call, Latency, Split
from undergo.views import jsonlines
from undergo.views.latency import latency_table
from undergo.views.split import share, words
from undergo.views.style import COLOUR, PLAIN
from undergo.views.tree import CallTree

SPLIT = Split(1_200_000, 0, 300_000, 5_000, 40_000_000, {"sleep": 10_000_000, "chan receive": 30_000_000})
WALL = 41_505_000


def test_words_name_the_bins_in_order_and_the_longest_wait_first() -> None:
    """What is less than a hundredth is left out; control characters of a foreign reason are shown, not sent."""
    assert "cpu 1.20 ms · chan receive 30.0 ms · sleep 10.0 ms" == words(SPLIT, PLAIN)
    assert "waiting, reason lost 5 ns" == words(Split(0, 0, 0, 0, 5, {}), PLAIN)
    assert "\x1b[31m" not in words(Split(0, 0, 0, 0, 5, {"\x1b[31m": 5}), PLAIN)
    assert "\x1b[32mcpu 5 ns\x1b[0m" == words(Split(5, 0, 0, 0, 0, {}), COLOUR)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 100, ""), (1, 1000, "<1%"), (370, 1000, "37%"), (999, 1000, "99%"), (5, 5, "100%")],
)
def test_shares_are_never_rounded_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    """Only nothing is empty and only all is 100 %."""
    assert text == share(part, whole)


def test_json_of_a_call() -> None:
    """The bins follow the end; a call with a gap has nulls in their place."""
    line = jsonlines.CallLines(["f"]).batch([Call(5, 0, 7, 70, 17, 0, 0, 1, WALL, "return", SPLIT)])
    row = json.loads(line)
    assert [1_200_000, 0, 300_000, 5_000, 40_000_000] == [row[f"{bin}_ns"] for bin in BINS]
    assert {"sleep": 10_000_000, "chan receive": 30_000_000} == row["waits"]
    line = jsonlines.CallLines(["f"]).batch([Call(5, 0, 7, 70, 17, 0, 0, 1, WALL, "return", None, True)])
    assert [None] * 5 == [json.loads(line)[f"{bin}_ns"] for bin in BINS]


BINS = ("running", "descheduled", "syscall", "runnable", "waiting")


def test_json_of_a_latency() -> None:
    """The bins stand beside the wall time."""
    row = json.loads(jsonlines.latency(latency(), "f"))
    assert WALL == row["wall_ns"]["sum"] == sum(row[f"{bin}_ns"] for bin in BINS)
    assert (0, 0) == (row["unsplit"], row["unsplit_ns"])


def latency(unsplit: int = 0) -> Latency:
    """One function's row."""
    return Latency(7, 1, 3, 0, 0, WALL + unsplit, 10, 30, 20, 29, 30, ((8, 32, 3),), SPLIT, unsplit, unsplit)


def test_the_table_has_a_column_per_bin_and_the_waits_below() -> None:
    """In a wide terminal shares stand in columns, in a narrow one in words."""
    wide = latency_table([latency()], {1: "main.f"}, PLAIN, 130)
    assert "  RUN  SYSC  RNBL  WAIT  SHARE       FUNCTION" in wide[0]
    assert "   3%    1%   <1%   96%  ██████████  main.f" in wide[1]
    assert "      chan receive 72% 30.0 ms · sleep 24% 10.0 ms" == wide[2]
    names = {1: "main." + "f" * 60}
    narrow = latency_table([latency()], names, PLAIN, 80)
    assert "WAIT" not in narrow[0]
    assert "      chan receive 72% 30.0 ms · sleep 24% 10.0 ms" == narrow[2]
    assert max(map(len, narrow)) <= 80 or names[1] in narrow[1]


def test_the_table_says_what_the_bins_do_not_hold() -> None:
    """Calls that missed a transition are counted out of the shares, in a line of their own."""
    lines = latency_table([latency(unsplit=5)], {1: "main.f"}, PLAIN, 130)
    assert "5 calls missed a status change: they count in all but the bins" in lines


def test_the_tree_says_where_a_call_s_time_went() -> None:
    """At the closing line, of calls long enough to be worth it."""
    tree = CallTree(["main.f"])
    calls = [
        Call(5, 0, 7, 70, 17, 0, 0, 1, WALL, "return", SPLIT),
        Call(6, 0, 7, 70, 17, 0, 0, 1, 900, "return", Split(400, 500, 0, 0, 0, {})),
        Call(7, 0, 7, 70, 17, 0, 0, 1, WALL, "panic", None, True),
    ]
    first, second, third = tree.feed(calls, 0)
    assert first.endswith("main.f()  // cpu 1.20 ms · chan receive 30.0 ms · sleep 10.0 ms")
    assert second.endswith("main.f()")
    assert third.endswith("main.f() !panic  !a status change was missed")
