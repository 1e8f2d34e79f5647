"""From raw records to a segment: one directory of Parquet files, which appears all at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from undergo.events.decode import ENDS
from undergo.events.records import SPENT_KNOWN, Kind, split_known
from undergo.events.states import STATUSES, waits_of
from undergo.goexe.function import Source
from undergo.recording.files import CAPTURES, UNFINISHED, raw_path, remove_raw, segment_path, segments
from undergo.recording.meta import Meta
from undergo.recording.paths import Paths
from undergo.recording.raw import STRUCTS, dtype_of
from undergo.recording.scratch import Scratch
from undergo.recording.tables import TABLES

if TYPE_CHECKING:
    import duckdb

#: Finds a place in the source: (executable, number of its birth probe, distance in bytes from that probe).
SourceOf = Callable[[int, int, int], Source | None]
Columns = Mapping[str, npt.NDArray[Any]]

_FORMAT: Final = "(format parquet, compression zstd, compression_level 1, parquet_version v2)"
_MEMORY: Final = "1GB"
_BINS: Final = ("descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns")  # of struct split, in order
_WAITING: Final = 3  # there

#: What one segment has to tell the next, beside the tables: calls that are open at its end, and waits whose call is
#: told of only later.
_OPEN: Final = "open"
_EARLY: Final = "early"
_OPEN_COLUMNS: Final = {
    "id": "id", "parent": "parent", "func": "func", "pid": "tgid", "tid": "tid", "goid": "goid", "depth": "depth",
}  # fmt: skip


class Converter:
    """Makes one segment after the other; what a segment has to know of those before it goes on in here."""

    def __init__(self, directory: str, meta: Meta, source: SourceOf | None = None) -> None:
        """Without `source`, places of new goroutines stay unknown. Raises ValueError for a meta without layouts."""
        import duckdb

        try:
            self.record, self._waits, self._state = (dtype_of(meta.layouts[name]) for name in STRUCTS)
        except (KeyError, TypeError) as error:
            raise ValueError("the layouts of raw records are missing") from error
        self._directory = directory
        self._meta = meta
        self._source = source
        self._paths = Paths(self.record)
        self._places: dict[tuple[str, str, int], int] = {}
        self._place_of: dict[tuple[int, int, int], int] = {}  # -1: not known
        self._early = _no_waits()
        self.last_ns = meta.started_ns  # the last time that any record tells, since the epoch
        self._scratch = Scratch()
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY, "threads": 1, "temp_directory": self._scratch.path
        }  # fmt: skip
        self._database: duckdb.DuckDBPyConnection = duckdb.connect(config=config)

    def close(self) -> None:
        """Gives the database's memory back."""
        self._database.close()
        self._scratch.give_back()

    def restore(self) -> None:
        """Goes on where the last segment on disk ended. Raises OSError or duckdb.Error."""
        made = segments(self._directory)
        if not made:
            return
        for parent, func in self._rows(made[-1], "paths", "parent, func", "path"):
            self._paths.add(-1 if parent is None else parent, func)
        for row in self._rows(made[-1], "places", "function, file, line", "place"):
            self._places[row] = len(self._places)
        rows = self._rows(made[-1], _OPEN, ", ".join([*_OPEN_COLUMNS, "path", "start_ns"]))
        opened = np.zeros(len(rows), self.record)
        opened["kind"] = Kind.CALL_OPENED
        for column, name in enumerate(_OPEN_COLUMNS.values()):
            opened[name] = [row[column] for row in rows]
        opened["start"] = [row[-1] - self._meta.offset_ns for row in rows]
        self._paths.open = opened
        self._paths.open_paths = np.array([row[-2] for row in rows], np.int32)
        waits = self._rows(made[-1], _EARLY, "call, slot, ns")
        self._early = {
            name: np.array([row[column] for row in waits], np.int64)
            for column, name in enumerate(("id", "slot", "ns"))
        }
        for table, last in (("calls", "max(start_ns + wall_ns)"), ("states", "max(ts_ns)")):
            for segment in made:
                for (at,) in self._rows(segment, table, last):
                    self.last_ns = max(self.last_ns, at or 0)

    def _rows(self, segment: str, table: str, columns: str, order: str = "") -> list[Any]:
        path = os.path.join(segment, f"{table}.parquet")
        if not os.path.exists(path):
            return []
        query = f"select {columns} from read_parquet(?)" + (f" order by {order}" if order else "")
        return self._database.execute(query, [path]).fetchall()

    def raw(self, number: int) -> None:
        """Makes the segment of a raw file, and removes that. Raises OSError or duckdb.Error."""
        path = raw_path(self._directory, number)
        records = np.fromfile(path, self.record) if os.path.exists(path) else np.zeros(0, self.record)
        captures = path + CAPTURES
        self.records(number, records, captures if os.path.exists(captures) else None)
        remove_raw(self._directory, number)

    def left_open(self, number: int) -> bool:
        """Makes a segment of the calls that are open, if there are any: they end, as `open`, at `last_ns`."""
        ended = self._paths.open[::-1].copy()
        if not len(ended):
            return False
        now = np.uint64(max(self.last_ns - self._meta.offset_ns, int(ended["start"].max())))
        ended["kind"], ended["end"], ended["tid"] = Kind.CALL_CLOSED, ENDS.index("open"), 0
        ended["wall"] = now - ended["start"]
        self.records(number, ended)
        return True

    def records(self, number: int, records: npt.NDArray[np.void], captures: str | None = None) -> None:
        """Makes one segment of records and of a file of captures. Raises OSError or duckdb.Error."""
        whole = segment_path(self._directory, number)
        made = whole + UNFINISHED
        shutil.rmtree(made, ignore_errors=True)
        os.makedirs(made)
        records = records.view(self.record)
        kinds = records["kind"]
        self._calls(made, records, kinds)
        self._states(made, records[kinds == Kind.STATE_CHANGED].view(self._state))
        self._births(made, records[kinds == Kind.GOROUTINE_BORN].view(self._state))
        if captures is not None and os.path.getsize(captures):
            columns = ", ".join(f"{name}: '{kind}'" for name, kind in TABLES["captures"].items())
            options = f"format = 'newline_delimited', columns = {{{columns}}}"
            self._copy(made, "captures", f"select * from read_json({_quoted(captures)}, {options})")
        self._cumulative(made)
        _flush(made)
        os.rename(made, whole)
        _flush(os.path.dirname(whole))

    def _calls(self, made: str, records: npt.NDArray[np.void], kinds: npt.NDArray[np.uint8]) -> None:
        at = np.flatnonzero(kinds == Kind.CALL_CLOSED)
        opened = records[kinds == Kind.CALL_OPENED]
        names = ("id", "parent", "func", "tgid", "tid", "goid", "depth", "start", "wall", "end", "flags")
        ended = {name: records[name][at] for name in names}
        path = self._paths.feed(opened, ended)
        known, bins = split_known(ended["flags"]), records["split.bins"][at].astype(np.int64)
        start, wall = ended["start"].astype(np.int64) + self._meta.offset_ns, ended["wall"].astype(np.int64)
        if len(at):
            self.last_ns = max(self.last_ns, int((start + wall).max()))
        columns = {
            "id": _signed(ended["id"]),
            "parent": _signed(ended["parent"]),
            "func": _signed(ended["func"]),
            "path": path,
            "pid": _signed(ended["tgid"]),
            "tid": _signed(ended["tid"]),
            "goid": _signed(ended["goid"]),
            "depth": _signed(ended["depth"]),
            "start_ns": start,
            "wall_ns": wall,
            "ending": ended["end"].astype(np.int32),
            "known": known,
            "running_ns": wall - bins.sum(axis=1),
            **{name: np.ascontiguousarray(bins[:, column]) for column, name in enumerate(_BINS)},
        }
        nulls = ("running_ns", *_BINS)
        self._table(
            made,
            "calls",
            columns,
            {"ending": _named("ending", ENDS)} | {name: f"case when known then {name} end" for name in nulls},
        )
        self._waited(made, records, kinds, at, columns)
        self._kept(made)

    def _waited(
        self,
        made: str,
        records: npt.NDArray[np.void],
        kinds: npt.NDArray[np.uint8],
        at: npt.NDArray[np.int64],
        calls: Columns,
    ) -> None:
        """What calls waited for: two reasons in their own records, others in records that came before."""
        near, slots = records["split.waits"][at], records["split.slots"][at]
        waited = calls["known"] & (calls["waiting_ns"] > 0)
        rows, places = np.nonzero((near > 0) & waited[:, None])
        found = [(rows, slots[rows, places].astype(np.int64), near[rows, places].astype(np.int64))]
        now = _waits_in(records[kinds == Kind.CALL_WAITS].view(self._waits))
        far = {name: np.concatenate([self._early[name], now[name]]) for name in now}
        self._early = _no_waits()
        if len(far["id"]):
            ids, first = np.unique(calls["id"], return_index=True)
            where = np.minimum(np.searchsorted(ids, far["id"]), max(len(ids) - 1, 0))
            here = ids[where] == far["id"] if len(ids) else np.zeros(len(where), np.bool_)
            row = first[where[here]]
            shown = waited[row]
            found.append((row[shown], far["slot"][here][shown], far["ns"][here][shown]))
            # of those from the segment before, the call's record was dropped
            late = ~here
            late[: len(late) - len(now["id"])] = False
            self._early = {name: far[name][late] for name in far}
        row, slot, ns = (np.concatenate(each) for each in zip(*found, strict=True))
        order = np.argsort(row, kind="stable")
        row = row[order]
        columns = {name: calls[name][row] for name in ("func", "path", "pid", "goid")}
        columns |= {"call": calls["id"][row], "reason": slot[order], "ns": ns[order]}
        self._table(made, "waits", columns, {"reason": _named("reason", self._meta.clock_reasons)})

    def _kept(self, made: str) -> None:
        """For the segment that follows, should somebody else make it."""
        opened = self._paths.open
        columns = {column: _signed(opened[name]) for column, name in _OPEN_COLUMNS.items()}
        columns |= {"path": self._paths.open_paths}
        columns |= {"start_ns": opened["start"].astype(np.int64) + self._meta.offset_ns}
        self._write(made, _OPEN, columns)
        early = {"call": self._early["id"], "slot": self._early["slot"], "ns": self._early["ns"]}
        self._write(made, _EARLY, early)

    def _states(self, made: str, rows: npt.NDArray[np.void]) -> None:
        rows = rows[np.argsort(rows["time"], kind="stable")]
        reasons = self._meta.state_reasons
        columns = {
            "ts_ns": self._times(rows),
            "pid": _signed(rows["tgid"]),
            "tid": _signed(rows["tid"]),
            "goid": _signed(rows["goid"]),
            "before": rows["from"].astype(np.int32),
            "after": rows["to"].astype(np.int32),
            "reason": waits_of(rows, len(reasons)),
            "waker": _signed(rows["other"]),
            "spent_ns": _signed(rows["spent"]),
            "known": rows["flags"] & SPENT_KNOWN != 0,
        }
        self._table(
            made,
            "states",
            columns,
            {
                "before": _named("before", _STATES),
                "after": _named("after", _STATES),
                "reason": f"case when reason >= 0 then {_named('reason', reasons)} end",
                "waker": "nullif(waker, 0)",
                "spent_ns": "case when known then spent_ns end",
            },
        )

    def _births(self, made: str, rows: npt.NDArray[np.void]) -> None:
        rows = rows[np.argsort(rows["time"], kind="stable")]
        columns = {
            "ts_ns": self._times(rows),
            "pid": _signed(rows["tgid"]),
            "tid": _signed(rows["tid"]),
            "goid": _signed(rows["goid"]),
            "parent": _signed(rows["other"]),
            # the return address lies after the call that the go statement is
            "statement": self._places_of(rows, "go_pc", -1),
            "start": self._places_of(rows, "start_pc"),
        }
        unknown = {name: f"case when {name} >= 0 then {name} end" for name in ("statement", "start")}
        self._table(made, "births", columns, {"parent": "nullif(parent, 0)"} | unknown)

    def _times(self, rows: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
        """When, since the epoch; of rows by time."""
        times = rows["time"].astype(np.int64) + self._meta.offset_ns
        if len(times):
            self.last_ns = max(self.last_ns, int(times[-1]))
        return times

    def _places_of(
        self, rows: npt.NDArray[np.void], distance: str, further: int = 0
    ) -> npt.NDArray[np.int32]:
        """Rows of `places`, -1 where that is not known; `distance` is 0 where the kernel could not read it."""
        found = np.full(len(rows), -1, np.int32)
        sites = rows["executable"].astype(np.int64) << 8 | rows["site"]
        for site in np.unique(sites).tolist():
            at = np.flatnonzero((sites == site) & (rows[distance] != 0))
            each, which = np.unique(rows[distance][at] + further, return_inverse=True)
            numbers = [self._place(site >> 8, site & 255, one) for one in each.tolist()]
            found[at] = np.array(numbers, np.int32)[which]
        return found

    def _place(self, executable: int, site: int, distance: int) -> int:
        known = self._place_of.get((executable, site, distance))
        if known is None:
            found = self._source(executable, site, distance) if self._source else None
            known = -1
            if found is not None:
                row = (found.function, found.file, found.line)
                known = self._places.setdefault(row, len(self._places))
            self._place_of[executable, site, distance] = known
        return known

    def _cumulative(self, made: str) -> None:
        paths = self._paths
        columns = {
            "path": np.arange(1, len(paths.funcs) + 1, dtype=np.int32),
            "parent": np.array([-1 if parent is None else parent for parent in paths.parents], np.int32),
            "func": np.array(paths.funcs, np.int32),
            "depth": np.array(paths.depths, np.int32),
        }
        self._table(made, "paths", columns, {"parent": "nullif(parent, -1)"})
        if self._places:
            database = self._database
            database.execute(
                "create or replace temp table made (place INTEGER, f VARCHAR, file VARCHAR, line INTEGER)"
            )
            rows = [(place, *row) for row, place in self._places.items()]
            database.executemany("insert into made values (?, ?, ?, ?)", rows)
            self._copy(made, "places", 'select place, f as "function", file, line from made')

    def _table(self, made: str, table: str, columns: Columns, of: Mapping[str, str]) -> None:
        """Writes a table, if it has rows; `of` are expressions for columns that are not as they are."""
        chosen = ", ".join(
            f"({of.get(name, name)})::{kind} as {name}" for name, kind in TABLES[table].items()
        )
        self._write(made, table, columns, chosen)

    def _write(self, made: str, table: str, columns: Columns, chosen: str = "*") -> None:
        if not len(next(iter(columns.values()))):
            return
        self._database.register("given", dict(columns))
        self._copy(made, table, f"select {chosen} from given")
        self._database.unregister("given")

    def _copy(self, made: str, table: str, query: str) -> None:
        path = os.path.join(made, f"{table}.parquet")
        self._database.execute(f"copy ({query}) to {_quoted(path)} {_FORMAT}")
        _flush(path)


_STATES: Final = [STATUSES.get(number, str(number)) for number in range(max(STATUSES) + 1)]


def _no_waits() -> dict[str, npt.NDArray[np.int64]]:
    return {name: np.zeros(0, np.int64) for name in ("id", "slot", "ns")}


def _waits_in(rows: npt.NDArray[np.void]) -> dict[str, npt.NDArray[np.int64]]:
    """The waits of CALL_WAITS records, one by one."""
    far = rows["waits"].shape[1]
    row, place = np.nonzero(np.arange(far) < rows["count"][:, None])
    return {
        "id": rows["id"][row].astype(np.int64),
        "slot": rows["slots"][row, place].astype(np.int64),
        "ns": rows["waits"][row, place].astype(np.int64),
    }


def _signed(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ids and the like: they never reach the sign."""
    return np.ascontiguousarray(column).view(f"<i{column.itemsize}")


def _named(number: str, names: Sequence[str]) -> str:
    """An expression for the name of a number."""
    return f"([{', '.join(map(_quoted, names))}]::VARCHAR[])[{number} + 1]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _flush(path: str) -> None:
    """What is written there, or which names a directory has, reaches the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
