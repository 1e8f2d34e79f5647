"""Latencies of recorded calls, against plain Python over the same calls."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.recordings import Spec, call, tables_of, write_recording
from tests.unit.analysis.forests import FORESTS, NAMES, Forest, calls_of, recorded
from undergo.analysis.latencies import latencies
from undergo.analysis.queries import parse_by
from undergo.errors import UsageError
from undergo.events.calls import Latency
from undergo.events.row_values import Rest
from undergo.recording.reader import open_recordings
from undergo.views.latency import SORT_KEYS

FEW = settings(max_examples=15, deadline=None)
BINS = ("running_ns", "descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns")


def quantile(values: Sequence[int], share: float) -> int:
    """Interpolated between the two values nearest to that rank."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return round(low + (high - low) * (at - math.floor(at)))


def check(row: Latency, specs: Sequence[Spec]) -> None:
    """Whether a row is that of these calls."""
    ended = [spec for spec in specs if spec.ending != "open"]
    walls = [spec.wall() for spec in ended]
    assert (len(specs), len(specs) - len(ended)) == (row.calls, row.open)
    assert sum(spec.ending == "panic" for spec in ended) == row.panics
    if not walls:
        assert row.split is None
        return
    assert (sum(walls), min(walls), max(walls)) == (row.sum_ns, row.min_ns, row.max_ns)
    for share, found in ((0.5, row.p50_ns), (0.9, row.p90_ns), (0.99, row.p99_ns)):
        assert abs(quantile(walls, share) - found) <= 1  # two ways of rounding a half
    known = [spec for spec in ended if not spec.has_gap()]
    assert row.split is not None
    assert [sum(spec.bins()[at] for spec in known) for at in range(5)] == [
        getattr(row.split, bin) for bin in BINS
    ]
    assert len(ended) - len(known) == row.unsplit
    assert sum(spec.wall() for spec in ended if spec.has_gap()) == row.unsplit_ns
    waits: dict[str, int] = defaultdict(int)
    for spec in known:
        for reason, ns in spec.waits().items():
            waits[reason] += ns
    assert dict(waits) == row.split.waits


def grouped(forest: Forest, key: Callable[[Any, Any, Spec], Any]) -> dict[Any, list[Spec]]:
    found: dict[Any, list[Spec]] = defaultdict(list)
    for who, path, spec in calls_of(forest):
        found[key(who, path, spec)].append(spec)
    return found


@FEW
@given(FORESTS)
def test_by_function(forest: Forest) -> None:
    with recorded(forest) as opened:
        found = latencies(opened, histograms=True)
    wanted = grouped(forest, lambda who, path, spec: spec.func)
    assert sorted(wanted) == sorted(found.funcs)
    for row, func in zip(found.rows, found.funcs, strict=True):
        check(row, wanted[func])
        walls = [spec.wall() for spec in wanted[func] if spec.ending != "open"]
        assert len(walls) == sum(count for _, _, count in row.histogram)
        for low, high, count in row.histogram:
            assert count == sum(low <= wall < high for wall in walls)
    assert sorted((row.sum_ns for row in found.rows), reverse=True) == [row.sum_ns for row in found.rows]
    pids = {func: {who[0] for who, _, spec in calls_of(forest) if spec.func == func} for func in wanted}
    for row, func in zip(found.rows, found.funcs, strict=True):
        assert (next(iter(pids[func])) if len(pids[func]) == 1 else None) == row.pid


@FEW
@given(FORESTS)
def test_by_process_goroutine_and_path(forest: Forest) -> None:
    with recorded(forest) as opened:
        by = {kind: latencies(opened, parse_by(kind)) for kind in ("process", "goroutine", "callpath")}
    wanted = grouped(forest, lambda who, path, spec: (spec.func, who[0], who[0]))
    found = by["process"]
    rows = zip(found.rows, found.funcs, found.values, strict=True)
    got = {(func, row.pid, value): row for row, func, value in rows}
    assert wanted.keys() == got.keys()
    for key, row in got.items():
        check(row, wanted[key])
    wanted = grouped(forest, lambda who, path, spec: (spec.func, *who))
    found = by["goroutine"]
    rows = zip(found.rows, found.funcs, found.values, strict=True)
    got = {(func, row.pid, value): row for row, func, value in rows}
    assert wanted.keys() == got.keys()
    for key, row in got.items():
        check(row, wanted[key])
    wanted = grouped(forest, lambda who, path, spec: " → ".join(NAMES[func] for func in path))
    got = dict(zip(by["callpath"].values, by["callpath"].rows, strict=True))
    assert wanted.keys() == got.keys()
    for key, row in got.items():
        check(row, wanted[key])


@FEW
@given(FORESTS)
def test_by_wait(forest: Forest) -> None:
    """The figures are how long one call waited for the reason; calls that are open do not count."""
    wanted: dict[Any, list[int]] = defaultdict(list)
    still: dict[Any, int] = defaultdict(int)
    for _, _, spec in calls_of(forest):
        for reason, ns in ({} if spec.has_gap() else spec.waits()).items():
            if spec.ending == "open":
                still[spec.func, reason] += 1
            else:
                wanted[spec.func, reason].append(ns)
    with recorded(forest) as opened:
        found = latencies(opened, parse_by("wait"))
    rows = dict(zip(zip(found.funcs, found.values, strict=True), found.rows, strict=True))
    assert wanted.keys() | still.keys() == rows.keys()
    for key, row in rows.items():
        assert (len(wanted[key]) + still[key], still[key]) == (row.calls, row.open)
        assert sum(wanted[key]) == row.sum_ns
        assert row.split is None
        if wanted[key]:
            assert abs(quantile(wanted[key], 0.99) - row.p99_ns) <= 1


@FEW
@given(FORESTS, FORESTS)
def test_several_recordings_are_summed_as_one(first: Forest, second: Forest) -> None:
    with recorded(first, second) as opened:
        both, one = latencies(opened), latencies(opened, of=range(1, 2))
    wanted = grouped(first, lambda who, path, spec: spec.func)
    for func, specs in grouped(second, lambda who, path, spec: spec.func).items():
        wanted[func] += specs
    assert sorted(wanted) == sorted(both.funcs)
    for row, func in zip(both.rows, both.funcs, strict=True):
        check(row, wanted[func])
    alone = grouped(second, lambda who, path, spec: spec.func)
    assert sorted(alone) == sorted(one.funcs)
    for row, func in zip(one.rows, one.funcs, strict=True):
        check(row, alone[func])


@pytest.mark.parametrize("key", SORT_KEYS)
def test_order_and_limit(key: str, tmp_path: Path) -> None:
    """The rows that a limit leaves are the largest by the key."""
    ends = ("return", "panic", "open")
    specs = [
        # of the odd functions all calls have ended, of the even ones some are open
        Spec(
            func,
            (7 * func + at * 100, func * 5 % 7, func * 3 % 7, func * 4 % 7, func),
            ending=ends[at % (3 - func % 2)],
        )
        for func in range(6)
        for at in range(func + 2)
    ]
    path = write_recording(tmp_path / "r", [f"main.f{n}" for n in range(6)], [tables_of({(1, 1): specs})])
    opened = open_recordings([str(path)])
    every, some = latencies(opened, sort=key), latencies(opened, sort=key, limit=3)
    values = [SORT_KEYS[key](row) for row in every.rows]
    assert sorted(values, reverse=True) == values
    assert every.funcs[:3] == some.funcs
    assert (0, 3) == (every.left_out, some.left_out)


def argument(
    id: int, func: int, text: str | None, name: str = "path", place: str = "argument"
) -> dict[str, Any]:
    return {"call": id, "func": func, "place": place, "position": 0, "name": name, "type": "string",
            "value": f'"{text}"', "text": text}  # fmt: skip


def test_by_argument(tmp_path: Path) -> None:
    """A row per value; a value that was lost is unread; functions without the argument are left out."""
    tables = {
        "calls": [
            call(1, 0, 1, 0, 10), call(2, 0, 1, 20, 30, waiting_ns=20), call(3, 0, 1, 60, 50), call(4, 0, 1, 200, 70),
            call(5, 1, 2, 300, 5),
        ],
        "waits": [{"call": 2, "func": 0, "path": 1, "pid": 100, "goid": 1, "reason": "sleep", "ns": 20}],
        "captures": [
            argument(1, 0, "/a"), argument(2, 0, "/b"), argument(3, 0, "/a"), argument(1, 0, "x", "other"),
            argument(5, 1, "/a", "path", "result"),
        ],
        "paths": [{"path": n + 1, "parent": None, "func": n, "depth": 0} for n in range(2)],
    }  # fmt: skip
    opened = open_recordings([str(write_recording(tmp_path / "r", ["main.f", "main.g"], [tables]))])
    found = latencies(opened, parse_by("arg:path"))
    rows = [(value, row.calls, row.sum_ns) for value, row in zip(found.values, found.rows, strict=True)]
    assert [(Rest.UNREAD, 1, 70), ("/a", 2, 60), ("/b", 1, 30)] == rows
    assert {"sleep": 20} == (found.rows[2].split and found.rows[2].split.waits)
    assert ("main.f path=<unread>", "main.f path=/a", "main.f path=/b") == found.labels
    assert (1,) == latencies(opened, parse_by("result:path")).funcs
    with pytest.raises(UsageError, match="no recorded call has an argument nope") as told:
        latencies(opened, parse_by("arg:nope"))
    assert "path, other" in told.value.hint


@pytest.mark.parametrize("text", ["", "arg:", "arg", "goroutines", "wait:x"])
def test_by_nothing_there_is(text: str) -> None:
    with pytest.raises(UsageError, match="--by"):
        parse_by(text)


def test_without_clocks_there_is_no_split(tmp_path: Path) -> None:
    """Not even one of zeros."""
    nothing = dict.fromkeys(BINS)
    rows = [call(1, 0, 1, 0, 10) | nothing]
    path = write_recording(tmp_path / "r", ["main.f"], [{"calls": rows}], kept=("calls",))
    row = latencies(open_recordings([str(path)])).rows[0]
    assert (None, 0, 0, 10) == (row.split, row.unsplit, row.unsplit_ns, row.sum_ns)


def test_functions_of_two_programs_are_told_apart(tmp_path: Path) -> None:
    from undergo.recording.meta import ExecutableRow

    one = write_recording(tmp_path / "one", ["main.f"], [{"calls": [call(1, 0, 1, 0, 10)]}])
    two = write_recording(
        tmp_path / "two", ["main.f"], [{"calls": [call(1, 0, 1, 0, 30)]}],
        executables=(ExecutableRow("/bin/store", "go1.27.3", "b", "store"),),
    )  # fmt: skip
    found = latencies(open_recordings([str(one), str(two)]))
    assert ("store: main.f", "shop: main.f") == found.labels
