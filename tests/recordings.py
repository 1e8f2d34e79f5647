"""Writes recordings by hand, with known contents, as docs/recording-format.md describes them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def ledger(delivered: int = 0, **dropped: int) -> dict[str, Any]:
    """The ledger of a recording with so many calls; what was dropped by cause, `_` standing for a space."""
    causes = {cause.replace("_", " "): count for cause, count in dropped.items()}
    return {
        "hits": delivered + sum(causes.values()), "delivered": delivered, "aggregated": 0, "filtered": 0,
        "dropped": causes, "unmatched_exits": 0, "open_calls": 0,
    }  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A call of a tree: its own time in each bin (what it waited for is `reason`), and what it calls in turn."""

    func: int
    own: tuple[int, int, int, int, int]
    reason: str = "chan receive"
    beneath: tuple[Spec, ...] = ()
    ending: str = "return"
    gap: bool = False  # a status change was missed: it has no split

    def wall(self) -> int:
        return sum(self.own) + sum(one.wall() for one in self.beneath)

    def bins(self) -> list[int]:
        return [own + sum(one.bins()[at] for one in self.beneath) for at, own in enumerate(self.own)]

    def waits(self) -> dict[str, int]:
        found = {self.reason: self.own[4]} if self.own[4] else {}
        for one in self.beneath:
            for reason, ns in one.waits().items():
                found[reason] = found.get(reason, 0) + ns
        return found

    def has_gap(self) -> bool:
        return self.gap or any(one.has_gap() for one in self.beneath)


def tables_of(trees: Mapping[tuple[int, int], Sequence[Spec]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of calls, waits and paths of the trees that goroutines (pid, goid) ran, one after the other."""
    made: dict[str, list[dict[str, Any]]] = {"calls": [], "waits": [], "paths": []}
    paths: dict[tuple[int | None, int], int] = {}
    ids = itertools.count(1)

    def add(spec: Spec, who: tuple[int, int], start: int, parent: int, above: int | None, depth: int) -> int:
        path = paths.get((above, spec.func))
        if path is None:
            path = paths[above, spec.func] = len(paths) + 1
            made["paths"].append({"path": path, "parent": above, "func": spec.func, "depth": depth})
        id, at = next(ids), start
        for one in spec.beneath:
            at = add(one, who, at, id, path, depth + 1)
        names = ("running_ns", "descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns")
        bins = [None] * 5 if spec.has_gap() else spec.bins()
        key = {"func": spec.func, "path": path, "pid": who[0], "goid": who[1]}
        made["calls"].append(
            {"id": id, "parent": parent, "tid": 1, "depth": depth, "start_ns": START + start, "wall_ns": spec.wall(),
             "ending": spec.ending, **key, **dict(zip(names, bins, strict=True))}
        )  # fmt: skip
        if not spec.has_gap():
            made["waits"] += [{"call": id, "reason": r, "ns": ns, **key} for r, ns in spec.waits().items()]
        return start + spec.wall()

    for who, roots in trees.items():
        start = 0
        for root in roots:
            start = add(root, who, start, 0, None, 0) + 1
    return made


def recursion(levels: int, func: int = 0) -> dict[str, list[dict[str, Any]]]:
    """The rows of a function that calls itself to so many levels, 1 ns before and after on each."""
    calls = [call(n + 1, func, n + 1, n, 2 * (levels - n), parent=n, depth=n) for n in range(levels)]
    paths = [{"path": n + 1, "parent": n or None, "func": func, "depth": n} for n in range(levels)]
    return {"calls": calls, "paths": paths}


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
        "ledger": ledger(),
    } | more
    Meta(**meta).write(os.fspath(directory))
    with duckdb.connect() as database:
        for number, tables in enumerate(segments):
            where = directory / "segments" / f"{number:06d}"
            where.mkdir()
            for table, rows in tables.items():
                columns = ", ".join(f"{name} {kind}" for name, kind in TABLES[table].items())
                database.execute(f"create or replace table made ({columns})")
                each = f"({', '.join('?' * len(TABLES[table]))})"
                for at in range(0, len(rows), 500):
                    some = rows[at : at + 500]
                    values = [row.get(name) for row in some for name in TABLES[table]]
                    database.execute(f"insert into made values {', '.join([each] * len(some))}", values)
                database.execute(f"copy made to '{where / table}.parquet' (format parquet)")
    return directory
