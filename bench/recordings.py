"""Writes a large recording of an invented service, for measuring what analysis costs.

    python bench/recordings.py DIRECTORY [CALLS]

Calls nest as real ones do: a request is a tree of calls of one goroutine, callers contain their callees in time and
in every bin. 1,200 goroutines of two processes serve requests of four shapes; a segment has a million calls.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from undergo.recording.meta import ExecutableRow, FunctionRow, Host, Meta, ProcessRow
from undergo.recording.tables import TABLES

START = 1_700_000_000_000_000_000  # ns since the epoch
GOROUTINES = 1_200
PIDS = (4_711, 4_712)
REASONS = ("chan receive", "sync.Mutex.Lock", "select", "sleep", "IO wait")
_COPY = "(format parquet, compression zstd, compression_level 1, parquet_version v2)"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Node:
    """A call of a shape: its own time has about `own_ns` in the median, and of it `waits` blocked on a reason."""

    func: str
    parent: int  # index in the shape; -1: none
    own_ns: int
    waits: float = 0.0
    reason: int = 0


def _chain(parent: int, names: Sequence[str], own_ns: int) -> list[Node]:
    return [Node(name, parent + at, own_ns) for at, name in enumerate(names)]


_STORE = "example.test/shop/internal/storage.(*Table[...])."
SHAPES = (
    [
        Node("main.recovering.func1", -1, 2_000),
        Node("main.(*shop).handleOrder", 0, 9_000),
        Node("main.parseOrder", 1, 1_500),
        Node("main.(*shop).priceOrder", 1, 1_100),
        Node("main.(*shop).reserve", 1, 90_000, 0.9, 1),
        Node(_STORE + "Get", 4, 700),
        Node(_STORE + "Put", 4, 1_300, 0.2, 1),
        Node("main.charge", 1, 1_900_000, 0.97, 3),
        Node("main.(*shop).writeReceipt", 1, 20_000),
        Node("encoding/json.Marshal", 8, 6_000),
    ],
    [
        Node("main.recovering.func1", -1, 2_000),
        Node("main.(*shop).handleSearch", 0, 60_000, 0.7, 1),
        *[Node(_STORE + "Scan", 1, 3_000) for _ in range(6)],
        Node("encoding/json.Marshal", 1, 9_000),
    ],
    [
        Node("main.recovering.func1", -1, 2_000),
        Node("main.(*shop).handleCheckout", 0, 150_000, 0.93, 0),
        Node("main.charge", 1, 1_500_000, 0.97, 3),
        *_chain(1, [f"main.walk{level}" for level in range(8)], 400),
    ],
    [Node("main.worker", -1, 30_000, 0.8, 2), Node("main.handleHealth", 0, 1_700)],
)
FUNCTIONS = tuple(dict.fromkeys(node.func for shape in SHAPES for node in shape))


class _Paths:
    """Numbers of call paths."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int | None, int, int]] = []
        self._known: dict[tuple[int | None, int], int] = {}

    def of(self, shape: Sequence[Node]) -> list[tuple[int, int]]:
        """(path, depth) of each call of a shape."""
        found: list[tuple[int, int]] = []
        for node in shape:
            parent, depth = (
                (None, 0) if node.parent < 0 else (found[node.parent][0], found[node.parent][1] + 1)
            )
            func = FUNCTIONS.index(node.func)
            if (parent, func) not in self._known:
                self._known[parent, func] = number = len(self.rows) + 1
                self.rows.append((number, parent, func, depth))
            found.append((self._known[parent, func], depth))
        return found


def main() -> None:
    """Writes it."""
    where, calls = sys.argv[1], int(float(sys.argv[2])) if len(sys.argv) > 2 else 10_000_000
    write(Path(where), calls)


def write(directory: Path, calls: int, of_segment: int = 1_000_000, slower: float = 1.0) -> None:
    """Writes a recording of about so many calls; `slower` stretches what goroutines wait."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "segments").mkdir(parents=True)
    random, paths = np.random.default_rng(7), _Paths()
    paths_of = [paths.of(shape) for shape in SHAPES]
    done, number, clock = 0, 0, np.full(GOROUTINES, START, np.int64)
    with duckdb.connect() as database:
        while done < calls:
            made = _segment(random, paths_of, min(of_segment, calls - done), done, clock, slower)
            where = directory / "segments" / f"{number:06d}"
            where.mkdir()
            for table, columns in made.items():
                _write(database, table, columns, where)
            _write(database, "paths", _columns("paths", paths.rows), where)
            done, number = done + len(made["calls"]["id"]), number + 1
    end = int(clock.max())
    ledger = {
        "hits": done, "delivered": done, "aggregated": 0, "filtered": 0, "dropped": {}, "unmatched_exits": 0,
        "open_calls": 0,
    }  # fmt: skip
    Meta(
        undergo="0", host=Host("bench", "6.18", "x86_64", 2), started_ns=START, offset_ns=START,
        kept=("calls", "split"), executables=(ExecutableRow("/bin/shop", "go1.27.3", "b", "shop"),),
        processes=tuple(ProcessRow(pid, 0) for pid in PIDS),
        functions=tuple(FunctionRow(name, 0, "main.go", 1) for name in FUNCTIONS), clock_reasons=(),
        state_reasons=(), birth_sites=((),), layouts={}, ended_ns=end, ledger=ledger,
    ).write(os.fspath(directory))  # fmt: skip


def _segment(
    random: np.random.Generator,
    paths_of: Sequence[Sequence[tuple[int, int]]],
    calls: int,
    before: int,
    clock: Ints,
    slower: float,
) -> dict[str, dict[str, Ints]]:
    """The tables of one segment; moves the goroutines' clocks on."""
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    per_request = sum(share * len(shape) for share, shape in zip(shares, SHAPES, strict=True))
    requests = [max(1, int(calls / per_request * share)) for share in shares]
    # whose turn it is decides when a request begins: after all the goroutine did before
    order = random.permutation(np.repeat(np.arange(len(SHAPES)), requests))
    goroutine = random.integers(0, GOROUTINES, len(order))
    trees = [_trees(random, SHAPES[kind], requests[kind], slower) for kind in range(len(SHAPES))]
    took = np.empty(len(order), np.int64)
    for kind, tree in enumerate(trees):
        took[order == kind] = tree["wall_ns"][:, 0]
    begin = _begin(goroutine, took + 5_000, clock)
    parts, waits, first = [], [], before + 1
    for kind, (shape, tree) in enumerate(zip(SHAPES, trees, strict=True)):
        mine, size = order == kind, len(shape)
        count = int(mine.sum())
        ids = first + np.arange(count * size).reshape(count, size)
        first += count * size
        parents = [ids[:, n.parent] if n.parent >= 0 else np.zeros(count, np.int64) for n in shape]
        gid = goroutine[mine][:, None]
        wide = {
            "id": ids, "parent": np.stack(parents, 1),
            "func": np.array([[FUNCTIONS.index(n.func) for n in shape]]),
            "path": np.array([[path for path, _ in paths_of[kind]]]),
            "pid": np.array(PIDS)[gid % 2], "tid": 5_000 + gid % 8, "goid": gid + 17,
            "depth": np.array([[depth for _, depth in paths_of[kind]]]),
            "start_ns": begin[mine][:, None] + tree["offset_ns"],
            **{name: tree[name] for name in list(TABLES["calls"])[-5:]}, "wall_ns": tree["wall_ns"],
        }  # fmt: skip
        flat = {
            name: np.ascontiguousarray(np.broadcast_to(of, (count, size))).ravel()
            for name, of in wide.items()
        }
        parts.append(flat)
        for reason in range(len(REASONS)):
            ns = tree["reasons"][reason].ravel()
            kept = ns > 0
            row = {name: flat[name][kept] for name in ("func", "path", "pid", "goid")}
            waits.append(
                {"call": flat["id"][kept], **row, "reason": np.full(kept.sum(), reason), "ns": ns[kept]}
            )
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ended = np.argsort(rows["start_ns"] + rows["wall_ns"], kind="stable")
    rows = {name: of[ended] for name, of in rows.items()}
    rows["ending"] = np.where(random.random(len(ended)) < 1e-5, 1, 0)
    return {"calls": rows, "waits": {name: np.concatenate([w[name] for w in waits]) for name in waits[0]}}


def _begin(goroutine: Ints, took: Ints, clock: Ints) -> Ints:
    """When each request begins: one after the other in each goroutine."""
    by = np.argsort(goroutine, kind="stable")
    sums = np.cumsum(took[by]) - took[by]
    firsts = np.flatnonzero(np.r_[True, np.diff(goroutine[by]) > 0])
    counts = np.diff(np.r_[firsts, len(by)])
    begin = np.empty_like(took)
    begin[by] = sums - np.repeat(sums[firsts], counts) + clock[goroutine[by]]
    np.maximum.at(clock, goroutine, begin + took)
    return begin


def _trees(random: np.random.Generator, shape: Sequence[Node], count: int, slower: float) -> dict[str, Ints]:
    """Times of `count` requests of a shape, by call; callers contain callees."""
    size = len(shape)
    own = {name: np.zeros((count, size), np.int64) for name in list(TABLES["calls"])[-5:]}
    reasons = np.zeros((len(REASONS), count, size), np.int64)
    for at, node in enumerate(shape):
        time = (node.own_ns * random.lognormal(0, 0.6, count)).astype(np.int64) + 50
        waiting = (time * node.waits * slower).astype(np.int64)
        rest = time - (time * node.waits).astype(np.int64)
        long = node.own_ns > 10_000
        syscall = rest // 4 if long else rest * 0
        runnable = np.where(random.random(count) < 0.3, rest // 10, 0) if long else rest * 0
        taken_off = np.where(random.random(count) < 0.02, rest // 5, 0)
        own["waiting_ns"][:, at], own["syscall_ns"][:, at] = waiting, syscall
        own["runnable_ns"][:, at], own["descheduled_ns"][:, at] = runnable, taken_off
        own["running_ns"][:, at] = rest - syscall - runnable - taken_off
        reasons[node.reason, :, at] = waiting
    alone = sum(own.values())
    for at in range(size - 1, 0, -1):
        for name in own:
            own[name][:, shape[at].parent] += own[name][:, at]
        reasons[:, :, shape[at].parent] += reasons[:, :, at]
    wall = sum(own.values())
    offset = np.zeros((count, size), np.int64)
    following = alone // 2  # half of a call's own time is before what it calls
    for at in range(1, size):
        parent = shape[at].parent
        offset[:, at] = offset[:, parent] + following[:, parent]
        following[:, parent] += wall[:, at]
    return {**own, "wall_ns": wall, "offset_ns": offset, "reasons": reasons}


def _columns(table: str, rows: Sequence[tuple[int | None, ...]]) -> dict[str, Ints]:
    """Rows as columns; -1 is NULL."""
    return {
        name: np.array([-1 if row[at] is None else row[at] for row in rows], np.int64)
        for at, name in enumerate(TABLES[table])
    }


def _write(database: duckdb.DuckDBPyConnection, table: str, columns: dict[str, Ints], where: Path) -> None:
    made = {name: columns[name] for name in TABLES[table]}  # noqa: F841  duckdb finds it by its name
    words = {"reason": REASONS, "ending": ("return", "panic")}
    shown = [
        f"({list(words[name])})[{name} + 1] as {name}"
        if name in words
        else f"(case when {name} >= 0 then {name} end)::{kind} as {name}"
        for name, kind in TABLES[table].items()
    ]
    database.execute(f"copy (select {', '.join(shown)} from made) to '{where / table}.parquet' {_COPY}")


if __name__ == "__main__":
    main()
