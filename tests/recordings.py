"""Writes recordings by hand, with known contents, as docs/recording-format.md describes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from undergo.recording.meta import ExecutableRow, FunctionRow, Host, Meta, ProcessRow
from undergo.recording.tables import TABLES

START = 1_700_000_000_000_000_000  # ns since the epoch
PID = 100


def call(id: int, func: int, path: int, start: int, wall: int, **more: Any) -> dict[str, Any]:
    """A row of `calls`: a root call of goroutine 1 that returned and ran all the time, but for `more`.

    `start` is in ns since the recording began.
    """
    row = {
        "id": id, "parent": 0, "func": func, "path": path, "pid": PID, "tid": PID, "goid": 1, "depth": 0,
        "start_ns": START + start, "wall_ns": wall, "ending": "return",
        "running_ns": wall, "descheduled_ns": 0, "syscall_ns": 0, "runnable_ns": 0, "waiting_ns": 0,
    }  # fmt: skip
    spent = sum(more.get(name) or 0 for name in list(row)[-4:])
    return row | {"running_ns": wall - spent} | more


#: For `call`: its split is not known.
UNSPLIT = dict.fromkeys(("running_ns", "descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns"))


def write_recording(
    directory: Path,
    functions: Sequence[str],
    segments: Sequence[Mapping[str, Sequence[Mapping[str, Any]]]],
    **more: Any,
) -> Path:
    """Writes one; each segment has rows by table. `more` are fields of Meta."""
    (directory / "segments").mkdir(parents=True)
    meta = {
        "undergo": "0",
        "host": Host("host", "6.18", "x86_64", 2),
        "started_ns": START,
        "offset_ns": START,
        "kept": ("calls", "split"),
        "executables": (ExecutableRow("/bin/shop", "go1.27.3", "b", "shop"),),
        "processes": (ProcessRow(PID, 0),),
        "functions": tuple(FunctionRow(name, 0, "main.go", 1) for name in functions),
        "clock_reasons": (),
        "state_reasons": (),
        "birth_sites": ((),),
        "layouts": {},
        "ended_ns": START + 10**9,
        "ledger": {"hits": 0, "dropped": {}},
    } | more
    Meta(**meta).write(os.fspath(directory))
    with duckdb.connect() as database:
        for number, tables in enumerate(segments):
            where = directory / "segments" / f"{number:06d}"
            where.mkdir()
            for table, rows in tables.items():
                columns = ", ".join(f"{name} {kind}" for name, kind in TABLES[table].items())
                database.execute(f"create or replace table made ({columns})")
                for row in rows:
                    values = [row.get(name) for name in TABLES[table]]
                    database.execute(f"insert into made values ({', '.join('?' * len(values))})", values)
                database.execute(f"copy made to '{where / table}.parquet' (format parquet)")
    return directory
