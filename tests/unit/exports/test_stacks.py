"""Times by call path: a function's own, from rows that contain its callees'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.recordings import PID, UNSPLIT, call, recursion, write_recording
from undergo.exports.stacks import DEEPER, LOST, REASON_LOST, Stacks, stacks
from undergo.recording.reader import open_recordings

PATHS = [
    {"path": 1, "parent": None, "func": 0, "depth": 0},
    {"path": 2, "parent": 1, "func": 1, "depth": 1},
    {"path": 3, "parent": 2, "func": 0, "depth": 2},
]


def made(tmp_path: Path, calls: list[Any], paths: Any = PATHS, waits: Any = (), **more: Any) -> Stacks:
    tables = {"calls": calls, "paths": list(paths), "waits": list(waits)}
    return stacks(open_recordings([str(write_recording(tmp_path / "r", ["a", "b"], [tables], **more))]))


def table(found: Stacks) -> dict[str, tuple[int, ...]]:
    """Stack -> calls, wall, bins..., unsplit of all nodes with something in them."""
    texts: list[str] = []
    rows = {}
    for node, parent in enumerate(found.parent):
        texts.append((f"{texts[parent]};" if parent >= 0 else "") + found.names[found.func[node]])
        row = (found.calls[node], found.wall[node], *found.bins[node], found.unsplit[node])
        if any(row):
            rows[texts[node]] = tuple(map(int, row))
    return rows


def waits(found: Stacks) -> dict[tuple[int, str], int]:
    rows = zip(found.wait_node.tolist(), found.wait_reason.tolist(), found.wait_ns.tolist(), strict=True)
    return {(node, found.reasons[reason]): ns for node, reason, ns in rows}


def wait(call: int, path: int, reason: str, ns: int) -> dict[str, Any]:
    return {"call": call, "func": path % 2, "path": path, "pid": 1, "goid": 1, "reason": reason, "ns": ns}


def test_callees_are_taken_off(tmp_path: Path) -> None:
    """By bin, by reason, and under recursion; what is written adds up to the outermost calls."""
    found = made(
        tmp_path,
        [
            call(3, 0, 3, 20, 10, parent=2, depth=2, runnable_ns=4),
            call(2, 1, 2, 10, 50, parent=1, depth=1, waiting_ns=30, runnable_ns=6),
            call(1, 0, 1, 0, 100, waiting_ns=45, runnable_ns=6, syscall_ns=1, descheduled_ns=2),
            call(4, 0, 1, 200, 7),
        ],
        waits=[wait(2, 2, "sleep", 30), wait(1, 1, "sleep", 40), wait(1, 1, "select", 5)],
    )
    assert {
        "a": (2, 57, 39, 2, 1, 0, 15, 0),
        "a;b": (1, 40, 8, 0, 0, 2, 30, 0),
        "a;b;a": (1, 10, 6, 0, 0, 4, 0, 0),
    } == table(found)
    assert 107 == found.wall.sum() == found.bins.sum()
    assert {(1, "sleep"): 10, (1, "select"): 5, (2, "sleep"): 30} == waits(found)


def test_bins_that_are_not_known_are_no_zeros(tmp_path: Path) -> None:
    """A caller without a split: its own time is not known by bin, its callee's is. The other way: neither caller's."""
    found = made(
        tmp_path,
        [
            call(2, 1, 2, 10, 50, parent=1, depth=1, waiting_ns=30),
            call(1, 0, 1, 0, 100, **UNSPLIT),
            call(4, 1, 2, 210, 50, parent=3, depth=1, **UNSPLIT),
            call(3, 0, 1, 200, 80, waiting_ns=10),
            call(5, 0, 1, 300, 9, waiting_ns=9),
        ],
        waits=[wait(2, 2, "sleep", 30), wait(3, 1, "sleep", 10), wait(5, 1, "sleep", 9)],
    )
    assert {"a": (3, 89, 0, 0, 0, 0, 9, 80), "a;b": (2, 100, 20, 0, 0, 0, 30, 50)} == table(found)
    assert found.wall.sum() == found.bins.sum() + found.unsplit.sum()
    assert {(1, "sleep"): 9, (2, "sleep"): 30} == waits(found)


def test_without_splits_there_is_wall_time(tmp_path: Path) -> None:
    rows = [call(2, 1, 2, 10, 50, parent=1, depth=1, **UNSPLIT), call(1, 0, 1, 0, 100, **UNSPLIT)]
    found = made(tmp_path, rows)
    assert {"a": (1, 50, 0, 0, 0, 0, 0, 50), "a;b": (1, 50, 0, 0, 0, 0, 0, 50)} == table(found)
    assert not found.split


def test_callers_that_were_lost(tmp_path: Path) -> None:
    """Nothing is taken off a caller whose record was lost, where the ledger says that records were."""
    rows = [call(2, 1, 2, 10, 50, parent=9, depth=1), call(1, 0, 1, 200, 30)]
    found = made(tmp_path, rows, ledger={"hits": 3, "delivered": 2, "dropped": {"ring full": 1}})
    assert {"a": (1, 30, 30, 0, 0, 0, 0, 0), "a;b": (1, 50, 50, 0, 0, 0, 0, 0)} == table(found)
    assert 0 == found.negative


def test_paths_that_were_lost(tmp_path: Path) -> None:
    """A call whose path is not known stands below a mark, and its caller still has only its own time."""
    lost = {"path": 4, "parent": 0, "func": 1, "depth": 1}
    rows = [
        call(2, 1, 0, 10, 50, parent=1, depth=1, waiting_ns=8),
        call(3, 1, 4, 70, 5, parent=1, depth=1),
        call(1, 0, 1, 0, 100, waiting_ns=8),
        call(4, 0, 0, 200, 3),
    ]
    found = made(
        tmp_path, rows, [*PATHS, lost], [wait(2, 0, "sleep", 8) | {"func": 1}, wait(1, 1, "sleep", 8)]
    )
    shown: dict[str, list[tuple[int, ...]]] = {}
    for node in range(len(found.parent)):
        if found.calls[node]:
            parent = found.parent[node]
            above = f"{found.names[found.func[parent]]};" if parent >= 0 else ""
            row = (int(found.calls[node]), int(found.wall[node]), int(found.bins[node, 4]))
            shown.setdefault(above + found.names[found.func[node]], []).append(row)
    assert {"a": [(1, 45, 0)], f"{LOST};b": [(1, 5, 0), (1, 50, 8)], f"{LOST};a": [(1, 3, 0)]} == shown
    assert [8] == list(waits(found).values())


def test_waits_without_a_reason_say_so(tmp_path: Path) -> None:
    """Rows of waits were lost; and where a callee has more of a reason than its caller, no reason is believed."""
    found = made(
        tmp_path,
        [
            call(2, 1, 2, 10, 50, parent=1, depth=1, waiting_ns=30),
            call(1, 0, 1, 0, 100, waiting_ns=45),
            call(3, 0, 1, 200, 10, waiting_ns=10),
        ],
        waits=[wait(2, 2, "sleep", 20), wait(1, 1, "select", 15), wait(3, 1, "select", 4)],
    )
    assert {(2, "sleep"): 20, (2, REASON_LOST): 10, (1, "select"): 19, (1, REASON_LOST): 6} == waits(found)


def test_nothing_at_all(tmp_path: Path) -> None:
    found = stacks(open_recordings([str(write_recording(tmp_path / "r", [], []))]))
    assert not found.calls.any() and not found.split and not len(found.wait_ns)


def test_paths_that_are_too_deep(tmp_path: Path) -> None:
    """Beyond 500 callers a function's calls are one, below what stands for the rest; no time is lost."""
    rows = recursion(800)
    for row in rows["calls"] + rows["paths"]:
        row["func"] = row["depth"] % 2
    wait = {"call": 800, "func": 1, "path": 800, "pid": PID, "goid": 1, "reason": "sleep", "ns": 2}
    for row in rows["calls"]:
        row |= {"running_ns": row["running_ns"] - 2, "waiting_ns": 2}
    waits = [wait | {"call": n, "path": n, "func": (n + 1) % 2} for n in range(1, 801)]
    made = write_recording(tmp_path / "r", ["a", "b"], [rows | {"waits": waits}])
    found = stacks(open_recordings([str(made)]))
    assert (800, 1600, 2) == (found.calls.sum(), found.wall.sum(), found.wait_ns.sum())
    at = found.names.index(DEEPER)
    (more,) = np.flatnonzero(found.func == at).tolist()
    assert [at, *[n % 2 for n in reversed(range(501))]] == callers(found, more)
    below = np.flatnonzero(found.parent == more).tolist()
    assert {"a": 149, "b": 150} == {found.names[found.func[node]]: found.calls[node] for node in below}
    assert {"b": 2} == {
        found.names[found.func[node]]: found.bins[node, 4] for node in below if found.bins[node, 4]
    }
    assert set(found.wait_node.tolist()) <= set(below)


def callers(found: Stacks, node: int) -> list[int]:
    """The functions from a node to the outermost one."""
    functions = []
    while node >= 0:
        functions.append(int(found.func[node]))
        node = int(found.parent[node])
    return functions
