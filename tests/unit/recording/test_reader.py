"""Reading recordings, one and many, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import START, call, write_recording
from undergo.errors import RecordingError
from undergo.recording.meta import read_meta
from undergo.recording.reader import Recordings, open_recordings


def rows(opened: Recordings, query: str) -> list[Any]:
    return opened.connection.execute(query).fetchall()


@pytest.fixture
def one(tmp_path: Path) -> Path:
    paths = [
        {"path": 1, "parent": None, "func": 0, "depth": 0},
        {"path": 2, "parent": 1, "func": 1, "depth": 1},
    ]
    first = {"calls": [call(2, 1, 2, 5, 10, parent=1, depth=1), call(1, 0, 1, 0, 100)], "paths": paths[:1]}
    return write_recording(
        tmp_path / "one", ["main.a", "main.b"], [first, {"calls": [call(3, 0, 1, 200, 7)], "paths": paths}]
    )


def test_segments_are_one_table(one: Path) -> None:
    opened = open_recordings([str(one)])
    assert [(1, START, 100), (2, START + 5, 10), (3, START + 200, 7)] == rows(
        opened, "select id, start_ns, wall_ns from calls order by id"
    )
    assert [(1, None, 0), (2, 1, 1)] == rows(opened, "select path, parent, func from paths order by path")
    assert ("main.a", "main.b") == opened.names
    assert [(0, "main.a", "shop"), (1, "main.b", "shop")] == rows(
        opened, "select func, name, program from functions order by func"
    )


def test_tables_without_rows_are_empty(one: Path) -> None:
    opened = open_recordings([str(one)])
    for table in ("waits", "captures", "states", "births", "places"):
        assert [] == rows(opened, f"select * from {table}")


def test_many_are_read_as_one(one: Path, tmp_path: Path) -> None:
    """Functions of one name become one; ids of calls, paths and places never meet."""
    paths = [
        {"path": 1, "parent": None, "func": 1, "depth": 0},
        {"path": 2, "parent": 0, "func": 0, "depth": 1},
    ]
    places = [{"place": 0, "function": "main.go1", "file": "m.go", "line": 3}]
    births = [{"ts_ns": 1, "pid": 1, "tid": 1, "goid": 9, "parent": None, "statement": 0, "start": None}]
    tables = {
        "calls": [call(1, 1, 1, 0, 50), call(2, 0, 2, 3, 4, parent=1)],
        "paths": paths,
        "places": places,
    }
    two = write_recording(tmp_path / "two", ["main.c", "main.a"], [tables | {"births": births}])
    opened = open_recordings([str(one), str(two), str(two)])
    assert ("main.a", "main.b", "main.c") == opened.names
    found = rows(
        opened, "select recording, id, parent, func, path from calls where recording > 0 order by id"
    )
    assert [(n, n << 53 | 1, 0, 0, 1 + 2 * n) for n in (1, 2)] == found[::2]
    assert [(n, n << 53 | 2, n << 53 | 1, 2, 2 + 2 * n) for n in (1, 2)] == found[1::2]
    assert [(3, None, 0), (4, 0, 2), (5, None, 0), (6, 0, 2)] == rows(
        opened, "select path, parent, func from paths where recording > 0 order by path"
    )
    assert [(0, 0), (1, 1)] == rows(
        opened, "select b.statement, p.place from births b join places p on b.statement = p.place order by 1"
    )


def test_functions_of_two_executables_of_one_recording_stay_two(tmp_path: Path) -> None:
    meta = json.loads((write_recording(tmp_path / "r", ["main.a", "main.a"], [{}]) / "meta.json").read_text())
    meta["executables"] *= 2
    meta["functions"][1]["executable"] = 1
    (tmp_path / "r" / "meta.json").write_text(json.dumps(meta))
    assert ("main.a", "main.a") == open_recordings([str(tmp_path / "r")]).names


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"major": 2, "undergo": "9.0"}, "written by undergo 9.0, in format 2"),
        ({"format": "other"}, "not of a recording, or damaged"),
        ({"functions": [{"name": "x"}]}, "is damaged"),
        ({"functions": 3}, "is damaged"),
        ({"ended_ns": "soon"}, "is damaged"),
        ({"host": None}, "is damaged"),
        ({"processes": [{"pid": 1, "executable": 7}]}, "is damaged"),
    ],
)
def test_a_meta_that_cannot_be(one: Path, damage: dict[str, Any], told: str) -> None:
    meta = json.loads((one / "meta.json").read_text())
    (one / "meta.json").write_text(json.dumps(meta | damage))
    with pytest.raises(RecordingError, match=told):
        read_meta(str(one))


def test_a_newer_minor_version_is_read(one: Path) -> None:
    meta = json.loads((one / "meta.json").read_text())
    (one / "meta.json").write_text(json.dumps(meta | {"minor": 99, "novelty": 1}))
    assert 99 == read_meta(str(one)).minor


@pytest.mark.parametrize("raw", [b"", b"[" * 100_000, b"\xff\xfe", b"null"])
def test_what_is_no_json(one: Path, raw: bytes) -> None:
    (one / "meta.json").write_bytes(raw)
    with pytest.raises(RecordingError, match="damaged"):
        read_meta(str(one))


def test_what_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is not a recording"):
        read_meta(str(tmp_path))
    with pytest.raises(RecordingError, match="does not exist"):
        read_meta(str(tmp_path / "none"))


def test_a_damaged_table(one: Path) -> None:
    (one / "segments" / "000000" / "calls.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(RecordingError, match="damaged"):
        open_recordings([str(one)])
