"""--until, where the flight recorder's recordings go, and its books."""

from __future__ import annotations

import time

import pytest

from undergo.cli.flight import Books, numbered
from undergo.cli.record_command import Size
from undergo.cli.until import Until, until
from undergo.events.calls import Ledger
from undergo.events.triggers import Trigger
from undergo.goexe.function import Function
from undergo.plan.probe_plan import CookieFlag, FunctionPlan, ProbePlan, Site

SITE = Site(0, 0, b"", "", 0, True, CookieFlag.NONE, "")


def plan(*names: str) -> ProbePlan:
    functions = [
        FunctionPlan(number, Function(number, name, 0, 1, "", 0, 0, False, False), SITE, ())
        for number, name in enumerate(names)
    ]
    return ProbePlan(0, tuple(functions), (), ())


def test_what_to_wait_for() -> None:
    plans = [plan("main.(*T).a", "main.b", "main.bb")]
    found = until(["main.b* slower than 1.5ms", "main.(*T).a panics", "main.b  fails", "signal"], plans)
    assert (
        Until(
            (
                Trigger("slower", frozenset({1, 2}), 1_500_000),
                Trigger("panics", frozenset({0})),
                Trigger("fails", frozenset({1})),
            )
        )
        == found
    )
    assert frozenset({1}) == found.failing


def test_the_end_counts_if_nothing_else_does() -> None:
    assert until([], []).exit
    assert until(["signal", "exit"], []).exit
    assert not until(["signal"], []).exit


@pytest.mark.parametrize(
    ("output", "second"),
    [
        ("run.undergo", "run-2.undergo"),
        ("/a/b.c/run.undergo/", "/a/b.c/run-2.undergo"),
        ("/a/b.c/run", "/a/b.c/run-2"),
        ("../x.y.z", "../x.y-2.z"),
    ],
)
def test_names(output: str, second: str) -> None:
    assert output == numbered(output, 1)
    assert second == numbered(output, 2)


def test_sizes() -> None:
    assert [5, 1500, 2 * 10**9, 10**6] == [
        Size().convert(t, None, None) for t in ("5", "1.5KB", "2 GB", "1mb")
    ]


def test_the_ledger_of_a_window_counts_from_its_beginning() -> None:
    """Of losses before it none, for as long as the books were kept often enough."""
    rows = iter([
        Ledger(10, 7, 0, 1, {"ring full": 2}, 3, 0),
        Ledger(30, 20, 0, 3, {"ring full": 7}, 4, 0),
        Ledger(90, 70, 0, 4, {"ring full": 9, "goroutines full": 1}, 4, 0),
    ])  # fmt: skip
    books = Books(lambda: next(rows))
    now = time.monotonic_ns()
    books.keep(now, 0)
    books.keep(now + 1, 0)  # too early to look again
    books.keep(now + 10**12, now + 10**12)
    assert Ledger(54, 50, 0, 1, {"ring full": 2, "goroutines full": 1}, 0, 0) == books.since(50)
