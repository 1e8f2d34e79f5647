"""The call graph, against plain Python over the same trees."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recordings import Spec, call, tables_of, write_recording
from tests.unit.analysis.forests import FORESTS, NAMES, Forest, calls_of, recorded
from undergo.analysis.graph import CALLER_LOST, Graph, graph
from undergo.recording.reader import open_recordings

FEW = settings(max_examples=15, deadline=None)


def figures(found: Graph) -> dict[tuple[str, ...], tuple[int, int, int | None]]:
    return {row.names: (row.calls, row.total_ns, row.self_ns) for row in found.rows}


def counted(forests: tuple[Forest, ...], only: frozenset[int] | None = None) -> dict[tuple[str, ...], Any]:
    """Calls, total and own time by path; with `only` paths begin where one of these functions is met first."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for forest in forests:
        for _, path, spec in calls_of(forest):
            begin = 0 if only is None else next((at for at, func in enumerate(path) if func in only), None)
            if begin is None:
                continue
            row = found[tuple(NAMES[func] for func in path[begin:])]
            row[0] += 1
            row[1] += spec.wall()
            row[2] += sum(spec.own)
    return {path: tuple(row) for path, row in found.items()}


@FEW
@given(FORESTS, FORESTS)
def test_totals_and_own_times(first: Forest, second: Forest) -> None:
    """Own time is what a call spent outside the calls it made; recordings share their paths."""
    with recorded(first, second) as opened:
        found = graph(opened)
    assert counted((first, second)) == figures(found)
    assert (
        sum(root.wall() for forest in (first, second) for trees in forest.values() for root in trees)
        == found.whole_ns
    )
    assert found.whole_ns == sum(row.self_ns or 0 for row in found.rows)


@FEW
@given(FORESTS, st.frozensets(st.integers(0, len(NAMES) - 1), min_size=1))
def test_only_some_functions(forest: Forest, only: frozenset[int]) -> None:
    """What leads to them is left out, and what they call is not."""
    with recorded(forest) as opened:
        found = graph(opened, only)
    assert counted((forest,), only) == figures(found)


@FEW
@given(FORESTS)
def test_splits(forest: Forest) -> None:
    """The bins of a path are those of its calls whose split is known."""
    bins: dict[tuple[str, ...], list[int]] = {}
    unknown: dict[tuple[str, ...], int] = defaultdict(int)
    for _, path, spec in calls_of(forest):
        names = tuple(NAMES[func] for func in path)
        if spec.has_gap():
            unknown[names] += spec.wall()
        else:
            bins[names] = [a + b for a, b in zip(bins.get(names, [0] * 5), spec.bins(), strict=True)]
    with recorded(forest) as opened:
        for row in graph(opened).rows:
            known = row.split
            assert unknown[row.names] == row.unsplit_ns
            assert bins.get(row.names) == (
                [
                    known.running_ns,
                    known.descheduled_ns,
                    known.syscall_ns,
                    known.runnable_ns,
                    known.waiting_ns,
                ]
                if known
                else None
            )


def test_rows_are_depth_first_and_the_most_first(tmp_path: Path) -> None:
    def spec(func: int, own: int, *beneath: Spec) -> Spec:
        return Spec(func, (own, 0, 0, 0, 0), beneath=beneath)

    trees = {(1, 1): [spec(0, 10, spec(1, 20), spec(2, 500, spec(1, 7))), spec(1, 90)]}
    opened = open_recordings([str(write_recording(tmp_path / "r", ["a", "b", "c"], [tables_of(trees)]))])
    rows = [("/".join(row.names), row.depth, row.last, row.left_out) for row in graph(opened).rows]
    assert [
        ("a", 0, False, 0),
        ("a/c", 1, False, 0),
        ("a/c/b", 2, True, 0),
        ("a/b", 1, True, 0),
        ("b", 0, True, 0),
    ] == rows
    rows = [("/".join(row.names), row.depth, row.last, row.left_out) for row in graph(opened, depth=2).rows]
    assert [("a", 0, False, 0), ("a/c", 1, False, 1), ("a/b", 1, True, 0), ("b", 0, True, 0)] == rows
    rows = [
        ("/".join(row.names), row.depth, row.last, row.left_out) for row in graph(opened, min_share=0.1).rows
    ]
    assert [("a", 0, False, 1), ("a/c", 1, True, 1), ("b", 0, True, 0)] == rows


def test_callers_that_are_not_known(tmp_path: Path) -> None:
    """A lost caller is said to be lost; the own time of one whose record is missing is not known."""
    tables = {
        "calls": [call(1, 0, 0, 0, 5), call(2, 1, 2, 10, 30), call(4, 1, 4, 100, 50), call(3, 0, 3, 90, 20)],
        "paths": [
            {"path": 1, "parent": None, "func": 0, "depth": 0},
            {"path": 2, "parent": 0, "func": 1, "depth": 1},
            {"path": 3, "parent": None, "func": 0, "depth": 0},
            {"path": 4, "parent": 3, "func": 1, "depth": 1},
        ],
    }
    opened = open_recordings([str(write_recording(tmp_path / "r", ["a", "b"], [tables]))])
    wanted = {
        (CALLER_LOST,): (0, 0, None),
        (CALLER_LOST, "b"): (1, 30, 30),
        (CALLER_LOST, "a"): (1, 5, 5),
        ("a",): (1, 20, None),  # it called b for longer than it took itself: a record is missing
        ("a", "b"): (1, 50, 50),
    }
    assert wanted == figures(graph(opened))


def test_recursion_a_thousand_deep(tmp_path: Path) -> None:
    deep = 1_000
    tables = {
        "calls": [call(n + 1, 0, n + 1, n, 2 * (deep - n), parent=n, depth=n) for n in range(deep)],
        "paths": [{"path": n + 1, "parent": n or None, "func": 0, "depth": n} for n in range(deep)],
    }
    opened = open_recordings([str(write_recording(tmp_path / "r", ["a"], [tables]))])
    rows = graph(opened).rows
    assert deep == len(rows)
    assert {2} == {row.self_ns for row in rows}


def test_nothing_recorded(tmp_path: Path) -> None:
    opened = open_recordings([str(write_recording(tmp_path / "r", [], [{}]))])
    assert Graph((), 0) == graph(opened)
