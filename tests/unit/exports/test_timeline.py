"""The order of events: whatever ends and begins at one time, calls nest as they were called."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recordings import START, call, write_recording
from undergo.exports.timeline import Processes, calls, events
from undergo.recording.reader import open_recordings

#: A call: how long it goes on after its last callee, and its callees with the pause before each.
TREES = st.recursive(
    st.tuples(st.integers(0, 1), st.just([])),
    lambda trees: st.tuples(st.integers(0, 1), st.lists(st.tuples(st.integers(0, 1), trees), max_size=4)),
    max_leaves=12,
)


def rows_of(
    tree: Any, ids: Iterator[int], at: int, goid: int, parent: int, depth: int
) -> list[dict[str, Any]]:
    """The rows of a tree that begins at `at`; ids follow nothing, as they do not in the kernel."""
    rest, callees = tree
    id, now, below = next(ids), at, []
    for pause, callee in callees:
        found = rows_of(callee, ids, now + pause, goid, id, depth + 1)
        now = found[-1]["start_ns"] - START + found[-1]["wall_ns"]
        below += found
    return [*below, call(id, 0, 1, at, now + rest - at, goid=goid, parent=parent, depth=depth)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(TREES, max_size=4), min_size=1, max_size=3), st.integers(1, 4), st.randoms())
def test_calls_nest_as_they_were_called(goroutines: list[list[Any]], chunk: int, random: Any) -> None:
    """On a clock of which most ticks have many events, each call begins within its caller and ends before it."""
    numbers = list(range(1, 500))
    random.shuffle(numbers)
    ids, rows = iter(numbers), []
    for goid, trees in enumerate(goroutines, 1):
        now = 0
        for tree in trees:
            found = rows_of(tree, ids, now, goid, 0, 0)
            now = found[-1]["start_ns"] - START + found[-1]["wall_ns"]
            rows += found
    with tempfile.TemporaryDirectory() as folder:
        path = write_recording(Path(folder) / "r", ["main.a"], [{"calls": rows}] if rows else [])
        opened = open_recordings([str(path)])
        stacks: dict[int, list[int]] = {}
        seen, last = [], 0
        walls = {row["id"]: (row["start_ns"], row["wall_ns"], row["parent"]) for row in rows}
        for some in events(calls(opened, chunk), Processes()):
            for event in some.order.tolist():
                if event < len(some.end_ts):
                    ended = stacks[int(some.end_key[event])].pop()
                    now = int(some.end_ts[event])
                    assert sum(walls[ended][:2]) == now
                else:
                    index = event - len(some.end_ts)
                    id, now = int(some.calls.id[index]), int(some.calls.start[index])
                    stack = stacks.setdefault(int(some.key[index]), [])
                    assert walls[id][2] == (stack[-1] if stack else 0)
                    stack.append(id)
                    seen.append(id)
                assert last <= now
                last = now
    assert sorted(walls) == sorted(seen)
    assert [] == list(itertools.chain(*stacks.values()))


def test_goroutines_of_processes_and_recordings_are_told_apart(tmp_path: Path) -> None:
    """Goroutine 1 of two processes, of two recordings, and the system stacks of two threads: six of them."""
    rows = [
        call(1, 0, 1, 0, 5, pid=1), call(2, 0, 1, 0, 5, pid=2),
        call(3, 0, 1, 0, 5, pid=1, goid=0, tid=8), call(4, 0, 1, 0, 5, pid=1, goid=0, tid=9),
    ]  # fmt: skip
    paths = [
        write_recording(tmp_path / name, ["main.a"], [{"calls": rows[:n]}])
        for name, n in (("a", 4), ("b", 2))
    ]
    processes = Processes()
    keys = [
        key for some in events(calls(open_recordings(list(map(str, paths)))), processes) for key in some.key
    ]
    assert 6 == len(set(keys))
    assert {"goroutine 1", "system stack of thread 8", "system stack of thread 9"} == set(
        map(processes.name, keys)
    )


def test_chunks_have_every_call_once(tmp_path: Path) -> None:
    """Also where many begin at the same time."""
    rows = [call(n, 0, 1, n // 10 * 7, 3, goid=n) for n in range(1, 400)]
    opened = open_recordings([str(write_recording(tmp_path / "r", ["main.a"], [{"calls": rows}]))])
    chunks = list(calls(opened, 50))
    assert len(chunks) > 4
    assert list(range(1, 400)) == sorted(int(id) for some in chunks for id in some.id)
    assert all(some.start.max() < some.until for some in chunks)
