"""What is said of recordings that are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import call, ledger, write_recording
from undergo.analysis.caveats import caveats, recorded_issues, recorded_ledger
from undergo.analysis.selection import selected
from undergo.errors import RecordingError, UsageError
from undergo.recording.lock import Lock
from undergo.recording.reader import Recordings, open_recordings

CALLS = {"calls": [call(1, 0, 1, 0, 5)]}


def made(where: Path, tables: Any = CALLS, **more: Any) -> Recordings:
    return open_recordings([str(write_recording(where / "r", ["main.f"], [tables], **more))])


@pytest.mark.parametrize(
    ("more", "kind", "words"),
    [
        ({"ended_ns": None, "ledger": None}, "not closed", "what it has so far"),
        ({"ledger": None}, "no ledger", "whether calls were lost is not known"),
        ({"dropped_segments": 1}, "segments dropped", "the oldest segment of"),
        ({"dropped_segments": 1_234}, "segments dropped", "the 1,234 oldest segments of"),
        ({"tables": {}}, "no calls", "has no calls"),
        ({"tables": {}, "kept": ("states",)}, "no calls", "was made without calls"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, more: dict[str, Any], kind: str, words: str) -> None:
    meta = dict(more)
    path = write_recording(tmp_path / "r", ["main.f"], [meta.pop("tables", CALLS)], **meta)
    lock = Lock(str(path)) if "ended_ns" in more else None  # somebody records it now
    found = caveats(open_recordings([str(path)]))
    if lock is not None:
        lock.give_back(done=True)
    assert [kind] == [issue.kind for issue in found]
    assert words in found[0].message


def test_of_a_whole_recording_nothing_is_said(tmp_path: Path) -> None:
    assert [] == caveats(made(tmp_path))


def test_ledgers_are_added_up(tmp_path: Path) -> None:
    paths = [
        write_recording(tmp_path / name, ["main.f"], [CALLS], ledger=ledger(delivered, **dropped))
        for name, delivered, dropped in (
            ("a", 5, {"ring_full": 2}),
            ("b", 7, {"ring_full": 1, "frames_full": 4}),
        )
    ]
    found = recorded_ledger(open_recordings([str(path) for path in paths]))
    assert found is not None
    assert (19, 12, {"ring full": 3, "frames full": 4}) == (found.hits, found.delivered, found.dropped)
    lost = write_recording(tmp_path / "c", ["main.f"], [CALLS], ledger=None)
    assert recorded_ledger(open_recordings([str(lost), *map(str, paths)])) is None


@pytest.mark.parametrize("damage", [{}, {"hits": "many"}, {"dropped": 3}])
def test_a_ledger_that_is_none(tmp_path: Path, damage: dict[str, Any]) -> None:
    opened = made(tmp_path, ledger=(ledger(5) | damage) if damage else {"hits": 1})
    with pytest.raises(RecordingError, match="damaged"):
        recorded_ledger(opened)


def test_issues_are_told_once(tmp_path: Path) -> None:
    issue = {"func": "main.g", "kind": "inlined", "message": "inlined everywhere"}
    opened = made(tmp_path, issues=(issue, issue))
    assert [("main.g", "inlined")] == [(row.func, row.kind) for row in recorded_issues(opened.metas)]


def test_functions_are_named_by_patterns(tmp_path: Path) -> None:
    """As when tracing: a name goes before what it would match as a pattern."""
    names = ["main.f", "main.(*T).f", "main.(TT).f", "net/http.f"]
    opened = open_recordings([str(write_recording(tmp_path / "r", names, [CALLS]))])
    assert selected(opened, ()) is None
    assert (0, 1, 2) == selected(opened, ["main.*"])
    assert (1,) == selected(opened, ["main.(*T).f"])
    assert (0, 3) == selected(opened, ["/^net/", "main.f"])
    for pattern, words in (
        ("main.F", "no function matches main.F"),
        ("@sql", "sets"),
        ("", "empty"),
        ("/(/", "regular"),
    ):
        with pytest.raises(UsageError, match=words):
            selected(opened, [pattern])
    with pytest.raises(UsageError) as told:
        selected(opened, ["main.F"])
    assert "did you mean main.f" in told.value.hint


def test_labels_name_the_program_where_they_must(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "r", ["main.f", "main.g"], [CALLS])
    meta = json.loads((path / "meta.json").read_text())
    meta["executables"] += [meta["executables"][0] | {"path": "/bin/store"}]
    meta["functions"] += [{"name": "main.f", "executable": 1, "file": "", "line": 0}]
    (path / "meta.json").write_text(json.dumps(meta))
    assert ("shop: main.f", "main.g", "store: main.f") == open_recordings([str(path)]).labels
