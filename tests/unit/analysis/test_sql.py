"""Queries: those of docs/sql.md have the right answers, and none reads or writes what it should not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import START, call, write_recording
from undergo.analysis.sql import answer, tables
from undergo.errors import UsageError
from undergo.recording.reader import Recordings, open_recordings
from undergo.recording.tables import TABLES

MS = 1_000_000
PAGE = Path(__file__).parents[3] / "docs" / "sql.md"
QUERIES = re.findall(r"^([^\n]+):\n\n```sql\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Two requests; the first queries three times, the second panics."""
    who = {"pid": 100, "goid": 1}
    tables = {
        "calls": [
            call(2, 1, 2, 1 * MS, 2 * MS, parent=1, depth=1, waiting_ns=MS),
            call(3, 1, 2, 4 * MS, 2 * MS, parent=1, depth=1),
            call(4, 1, 2, 7 * MS, 1 * MS, parent=1, depth=1),
            call(1, 0, 1, 0, 10 * MS, waiting_ns=MS, syscall_ns=2 * MS),
            call(5, 0, 1, 1_500 * MS, 30 * MS, waiting_ns=15 * MS, ending="panic"),
        ],
        "waits": [
            {"call": 2, "func": 1, "path": 2, "reason": "IO wait", "ns": MS, **who},
            {"call": 1, "func": 0, "path": 1, "reason": "IO wait", "ns": MS, **who},
            {"call": 5, "func": 0, "path": 1, "reason": "select", "ns": 15 * MS, **who},
        ],
        "captures": [
            {"call": id, "func": 0, "place": "argument", "position": 0, "name": "path", "type": "string",
             "value": f'"{text}"', "text": f'"{text}"'}
            for id, text in ((1, "/a"), (5, "/b"))
        ],
        "states": [
            {"ts_ns": START + 2 * MS, "pid": 100, "tid": 1, "goid": 1, "before": "waiting", "after": "runnable",
             "reason": "select", "waker": waker, "spent_ns": 5}
            for waker in (18, 18, None)
        ],
        "paths": [{"path": 1, "parent": None, "func": 0, "depth": 0}, {"path": 2, "parent": 1, "func": 1, "depth": 1}],
    }  # fmt: skip
    return write_recording(
        tmp_path / "r", ["main.handle", "main.query"], [tables], kept=("calls", "split", "states")
    )


ANSWERS: list[list[tuple[Any, ...]]] = [
    [("main.handle", 2, 29.8 * MS, 30 * MS), ("main.query", 3, 2.0 * MS, 2 * MS)],
    [("select", 1, 15 * MS, 15 * MS), ("IO wait", 1, MS, MS)],
    [("main.handle", 55.0, 0.0, 5.0, 0.0, 40.0)],
    [(0, 1, 10.0 * MS), (1, 1, 30.0 * MS)],
    [("main.handle", "panic", 1)],
    [("main.handle", 3, 5 * MS)],
    [("main.handle", 35 * MS), ("main.query", 5 * MS)],
    [(1, "main.query", 3, 5 * MS)],
    [('"/b"', 1, 30.0 * MS), ('"/a"', 1, 10.0 * MS)],
    [(18, 1, "select", 2, 10)],
]


def test_there_are_ten() -> None:
    assert len(ANSWERS) == len(QUERIES) == 10


@pytest.mark.parametrize(
    ("query", "rows"), [(query, rows) for (_, query), rows in zip(QUERIES, ANSWERS, strict=False)]
)
def test_the_queries_of_the_documentation(made: Path, query: str, rows: list[tuple[Any, ...]]) -> None:
    assert rows == asked(open_recordings([str(made)]), query)


def asked(opened: Recordings, query: str) -> list[tuple[Any, ...]]:
    return [row for batch in answer(opened, query).batches for row in batch]


def test_tables(made: Path) -> None:
    """All of the format's and two more, with their columns and numbers of rows."""
    found = {table.name: table for table in tables(open_recordings([str(made)]))}
    assert [*TABLES, "functions", "recordings"] == list(found)
    for name, columns in TABLES.items():
        assert (("recording", "INTEGER"), *columns.items()) == found[name].columns
    assert (5, 3, 2, 0, 2, 1) == tuple(
        found[name].rows for name in ("calls", "waits", "captures", "births", "functions", "recordings")
    )


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("select * from '{other}'", "disabled"),
        ("select * from read_parquet('{other}')", "disabled"),
        ("select * from read_text('/etc/hostname')", "disabled"),
        ("select * from glob('/*')", "disabled"),
        ("select * from read_blob('{made}/meta.json')", "disabled"),
        ("copy (select 1) to '{new}'", "only read"),
        ("copy (select 1 as id) to '{own}' (format parquet)", "only read"),
        ("explain analyze copy (select 1 as id) to '{own}' (format parquet)", "only read"),
        ("attach '{new}'", "only read"),
        ("export database '{new}'", "only read"),
        ("create table made as select 1", "only read"),
        ("drop view calls", "only read"),
        ("set memory_limit = '1TB'", "only read"),
        ("set lock_configuration = false", "only read"),
        ("install httpfs", "only read"),
        ("pragma enable_external_access", "only read"),
        ("call pragma_version()", "only read"),
        ("select 1; copy (select 1) to '{new}'", "one query"),
        ("select * from 'https://undergo.invalid/x.parquet'", "disabled"),
        ("", "no query"),
        ("-- nothing", "no query"),
        ("select nothing from calls", '"nothing" not found'),
        ("select * fro calls", "syntax error"),
        ("select 'a'::int", "Could not convert"),
        ("select * from opened", "does not exist"),
        ("select now()", "cannot be given out"),
    ],
)
def test_what_queries_cannot(made: Path, tmp_path: Path, query: str, told: str) -> None:
    """Everything is refused in the user's words, and nothing on the disk changes."""
    other = write_recording(tmp_path / "other", ["main.x"], [{"calls": [call(1, 0, 1, 0, 1)]}])
    table, own = "segments/000000/calls.parquet", made / "segments/000000/calls.parquet"
    text = query.format(other=other / table, made=made, new=tmp_path / "new", own=own)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    opened = open_recordings([str(made)])
    assert opened is not None
    with pytest.raises(UsageError) as refused:
        asked(opened, text)
    assert told in refused.value.message
    assert 1 == len(refused.value.message.splitlines())
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_the_place_of_an_error(made: Path) -> None:
    """The line of the query, and a caret below what is wrong with it."""
    with pytest.raises(UsageError) as refused:
        asked(open_recordings([str(made)]), "select id,\n  wal_ns from calls")
    line, caret = refused.value.hint.splitlines()
    assert "  wal_ns from calls" == line
    assert "wal_ns" == line[caret.index("^") : caret.rindex("^") + 1]
