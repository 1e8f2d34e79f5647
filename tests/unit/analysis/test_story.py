"""The story of one call, from states and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.recordings import PID, START, call, write_recording
from undergo.analysis.story import Stay, Story, Waker, story
from undergo.analysis.trees import as_records, call_of, slowest, tree
from undergo.events.calls import Call
from undergo.recording.reader import open_recordings
from undergo.views.recorded_values import RecordedValues
from undergo.views.story import story_lines

MS = 1_000_000


def state(
    at: int,
    goid: int,
    before: str,
    after: str,
    spent: int | None,
    reason: str | None = None,
    waker: int | None = None,
) -> dict[str, Any]:
    return {"ts_ns": START + at, "pid": PID, "tid": PID, "goid": goid, "before": before, "after": after,
            "reason": reason, "waker": waker, "spent_ns": spent}  # fmt: skip


TABLES: dict[str, list[dict[str, Any]]] = {
    "calls": [
        call(2, 1, 2, 1 * MS, 3 * MS, parent=1, depth=1, waiting_ns=2 * MS, runnable_ns=500_000),
        call(1, 0, 1, 0, 10 * MS, waiting_ns=7 * MS, runnable_ns=MS),
        call(4, 3, 4, 2 * MS, 2 * MS, parent=3, depth=1, goid=18),
        call(3, 2, 3, 0, 12 * MS, goid=18),
        call(5, 2, 3, 0, 12 * MS, goid=1, pid=PID + 1),  # another process's goroutine 1
    ],
    "waits": [
        {"call": 2, "func": 1, "path": 2, "pid": PID, "goid": 1, "reason": "chan receive", "ns": 2 * MS},
        {"call": 1, "func": 0, "path": 1, "pid": PID, "goid": 1, "reason": "chan receive", "ns": 2 * MS},
        {"call": 1, "func": 0, "path": 1, "pid": PID, "goid": 1, "reason": "sleep", "ns": 5 * MS},
    ],
    "captures": [
        {"call": 1, "func": 0, "place": "argument", "position": 0, "name": "path", "type": "string",
         "value": '"/a"', "text": '"/a"'},
        {"call": 1, "func": 0, "place": "result", "position": 0, "name": "", "type": "error",
         "value": "null", "text": "nil"},
    ],
    "paths": [
        {"path": 1, "parent": None, "func": 0, "depth": 0}, {"path": 2, "parent": 1, "func": 1, "depth": 1},
        {"path": 3, "parent": None, "func": 2, "depth": 0}, {"path": 4, "parent": 3, "func": 3, "depth": 1},
    ],
    "states": [
        state(1_500_000, 1, "running", "waiting", None, "chan receive"),
        state(2 * MS, 18, "running", "waiting", None, "sleep"),
        state(2_500_000, 18, "waiting", "running", 500_000, "sleep"),
        state(3_500_000, 1, "waiting", "runnable", 2 * MS, "chan receive", 18),
        state(4 * MS, 1, "runnable", "running", 500_000),
        state(5 * MS, 1, "running", "waiting", MS, "sleep"),
        state(12 * MS, 1, "waiting", "running", 7 * MS, "sleep"),
        state(13 * MS, 18, "running", "dead", 10_500_000),
    ],
}  # fmt: skip
NAMES = ["main.handle", "main.ask", "main.worker", "main.send"]


def told(
    tmp_path: Path, id: int, *, states: bool = True, most: int = 100, tables: dict[str, Any] | None = None
) -> Story:
    kept = ("calls", "split", *(["states"] if states else []))
    rows = tables or (TABLES if states else {k: v for k, v in TABLES.items() if k != "states"})
    opened = open_recordings([str(write_recording(tmp_path / "r", NAMES, [rows], kept=kept))])
    root = call_of(opened, id)
    assert root is not None
    return story(opened, root, most)


def test_waits_in_order_with_who_ended_them(tmp_path: Path) -> None:
    """Stays are cut to the call; what the waker did before it was seen first is not known."""
    found = told(tmp_path, 1)
    waker = Waker(18, ("main.worker", "main.send"), {"sleep": 500_000, "running": MS}, 500_000)
    assert (
        Stay(START + 1_500_000, 2 * MS, "waiting", "chan receive", True, waker),
        Stay(START + 3_500_000, 500_000, "runnable", "", True, None),
        Stay(START + 5 * MS, 5 * MS, "waiting", "sleep", False, None),
    ) == found.stays
    assert ("main.handle",) == found.callers
    assert ("main.handle", "main.ask") == told(tmp_path / "ask", 2).callers
    assert [2] == [call.id for call in found.tree.beneath]
    split = found.tree.root.call.split
    assert split is not None
    assert {"chan receive": 2 * MS, "sleep": 5 * MS} == split.waits


def test_the_longest_are_kept(tmp_path: Path) -> None:
    found = told(tmp_path, 1, most=1)
    assert found.stays is not None
    assert [("sleep", 2)] == [(stay.reason, found.stays_left_out) for stay in found.stays]


def test_a_wait_that_nobody_ended(tmp_path: Path) -> None:
    """The recording ended before it did."""
    tables = TABLES | {"states": TABLES["states"][:6]}
    found = told(tmp_path, 1, tables=tables)
    assert found.stays is not None
    assert Stay(START + 5 * MS, 5 * MS, "waiting", "sleep", False, None) == found.stays[-1]
    waker = found.stays[0].waker
    assert waker is not None
    assert {"sleep": 500_000, "running": MS} == waker.spent


def test_as_it_is_shown(tmp_path: Path) -> None:
    opened = open_recordings(
        [str(write_recording(tmp_path / "r", NAMES, [TABLES], kept=("calls", "split", "states")))]
    )
    root = call_of(opened, 1)
    assert root is not None
    lines = story_lines(story(opened, root, 10), NAMES, RecordedValues({}, {}))
    picture = """\
    AFTER       TOOK  WHAT
  1.00 ms    3.00 ms  main.ask()  // cpu 500 us · runnable 500 us · chan receive 2.00 ms
  1.50 ms    2.00 ms    waits: chan receive
                        └ ended by goroutine 18 in main.worker → main.send
                          meanwhile running 1.00 ms, sleep 500 us, not known 500 us
  3.50 ms     500 us    ready, waits for a P
  5.00 ms    5.00 ms  waits: sleep  and beyond this call's end
  10.0 ms             returned""".split("\n")
    assert picture == lines[lines.index("") + 1 :]


def test_without_states(tmp_path: Path) -> None:
    """The waits are known in sum, and what more could be known is said."""
    found = told(tmp_path, 1, states=False)
    assert found.stays is None
    lines = story_lines(found, NAMES, RecordedValues({}, {}))
    assert [
        "in all it waited 5.00 ms (50%): sleep",
        "in all it waited 2.00 ms (20%): chan receive",
        "when it waited, and which goroutine ended each wait, `undergo record --states` would tell",
    ] == lines[-3:]


def test_slowest_are_outermost(tmp_path: Path) -> None:
    """What lies beneath a slow call is told with it, not beside it."""
    rows = [
        call(1, 0, 1, 0, 100), call(2, 1, 2, 5, 90, parent=1, depth=1), call(3, 1, 2, 6, 80, parent=2, depth=2),
        call(4, 1, 2, 5, 85, goid=2), call(5, 0, 1, 100, 7), call(6, 1, 2, 100, 5, parent=5, depth=1),
    ]  # fmt: skip
    opened = open_recordings([str(write_recording(tmp_path / "r", NAMES, [{"calls": rows}]))])
    assert [1, 4, 5] == [one.call.id for one in slowest(opened, 3)]
    assert [2, 4] == [one.call.id for one in slowest(opened, 2, [1])]
    assert [1, 4, 5] == [one.call.id for one in slowest(opened, 99)]


def test_a_tree_ends_where_the_next_call_begins(tmp_path: Path) -> None:
    """A call that begins in the nanosecond in which another ends is not beneath it."""
    rows = [
        call(1, 0, 1, 0, 100), call(2, 1, 2, 0, 50, parent=1, depth=1), call(3, 1, 2, 50, 50, parent=1, depth=1),
        call(4, 2, 3, 60, 1, parent=3, depth=2), call(5, 0, 1, 100, 7), call(6, 1, 2, 100, 5, parent=5, depth=1),
        call(7, 1, 2, 20, 5, goid=2, depth=1), call(8, 1, 2, 20, 5, pid=7, depth=1),
    ]  # fmt: skip
    opened = open_recordings([str(write_recording(tmp_path / "r", NAMES, [{"calls": rows}]))])
    root = slowest(opened, 1)[0]
    found = tree(opened, root, 100)
    assert [2, 3, 4] == [call.id for call in found.beneath]
    kinds = [(type(record) is Call, record.id) for record in as_records(found)]
    assert [(False, 1), (True, 2), (False, 3), (True, 4), (True, 3), (True, 1)] == kinds
    some = tree(opened, root, 2)
    assert ([2, 3], 1) == ([call.id for call in some.beneath], some.left_out)


def test_threads_tell_calls_on_system_stacks_apart(tmp_path: Path) -> None:
    rows = [
        call(1, 0, 1, 0, 100, goid=0, tid=5), call(2, 1, 2, 10, 5, goid=0, tid=5, depth=1),
        call(3, 1, 2, 10, 6, goid=0, tid=6, depth=1),
    ]  # fmt: skip
    opened = open_recordings([str(write_recording(tmp_path / "r", NAMES, [{"calls": rows}]))])
    assert [2] == [call.id for call in tree(opened, slowest(opened, 1)[0], 100).beneath]


@pytest.mark.parametrize("id", [0, 6, 1 << 60])
def test_no_such_call(tmp_path: Path, id: int) -> None:
    opened = open_recordings([str(write_recording(tmp_path / "r", NAMES, [TABLES]))])
    assert call_of(opened, id) is None
