"""Opens recordings, one or many, as tables of one database."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undergo.errors import RecordingError
from undergo.recording.files import segments
from undergo.recording.meta import Meta, read_meta
from undergo.recording.repair import repaired
from undergo.recording.scratch import Scratch
from undergo.recording.tables import CUMULATIVE, LOST_PATH, TABLES

if TYPE_CHECKING:
    import duckdb

_ID_BITS = 53  # of a call's id (bpf/frames.bpf.h); above them its recording's number
_MOST = 1 << 10
#: Columns with numbers that each recording counts by itself: ids of calls, and rows of cumulative tables.
_CALL_IDS = {("calls", "id"), ("calls", "parent"), ("waits", "call"), ("captures", "call")}
_ROWS_OF = {
    ("calls", "path"): "paths",
    ("waits", "path"): "paths",
    ("paths", "path"): "paths",
    ("paths", "parent"): "paths",
    ("places", "place"): "places",
    ("births", "statement"): "places",
    ("births", "start"): "places",
}


@dataclass(frozen=True, slots=True)
class Recordings:
    """Recordings that were opened; `connection` has their tables as views, as docs/recording-format.md lists them.

    Each has a column `recording`, its number in `metas`. Ids of calls, functions, paths and places are unique over
    all of them; functions of one name, in programs of one name, are one function. `functions` has (func, name,
    program, file, line), `recordings` (recording, path, host, started_ns, ended_ns).
    """

    paths: tuple[str, ...]
    metas: tuple[Meta, ...]
    names: tuple[str, ...]  # of functions, by func
    labels: tuple[str, ...]  # the same, with their program where two programs have one of that name
    connection: duckdb.DuckDBPyConnection
    scratch: Scratch

    def close(self) -> None:
        """Gives back what reading them takes."""
        self.connection.close()
        self.scratch.give_back()


def _to_stderr(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def open_recordings(
    paths: Sequence[str], memory: str = "1GB", say: Callable[[str], None] = _to_stderr
) -> Recordings:
    """Opens them, and first closes what was left open; `memory` is what queries may take. Raises RecordingError.

    `say` is told, in one line, of a recording that was not closed.
    """
    import duckdb

    if len(paths) > _MOST:
        raise RecordingError(f"{len(paths):,} recordings are too many; {_MOST:,} can be read as one")
    metas = tuple(repaired(path, read_meta(path), say) for path in paths)
    scratch = Scratch()
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "preserve_insertion_order": "false",
        "temp_directory": scratch.path,
    }
    connection = duckdb.connect(config=config)
    functions = _Functions(metas)
    connection.execute(
        "create table functions (func INTEGER, name VARCHAR, program VARCHAR, file VARCHAR, line INTEGER)"
    )
    if functions.rows:  # in one statement: thousands of them would take a second
        lists = [*map(list, zip(*functions.rows, strict=True))]
        connection.execute(f"insert into functions select {', '.join(['unnest(?)'] * len(lists))}", lists)
    connection.execute(
        "create table recordings"
        " (recording INTEGER, path VARCHAR, host VARCHAR, started_ns BIGINT, ended_ns BIGINT)"
    )
    for number, (path, meta) in enumerate(zip(paths, metas, strict=True)):
        row = (number, path, meta.host.name, meta.started_ns, meta.ended_ns)
        connection.execute("insert into recordings values (?, ?, ?, ?, ?)", row)
    files = [_files(path) for path in paths]
    try:
        for path, meta, each in zip(paths, metas, files, strict=True):
            _check_functions(connection, path, len(meta.functions), each)
        numbering = [functions.numbers, *(_bases(connection, files, table) for table in CUMULATIVE)]
        shifts = [_Shift(*each) for each in zip(*numbering, strict=True)]
        for table in TABLES:
            _view(connection, table, [each[table] for each in files], shifts)
    except duckdb.Error as error:
        raise RecordingError(f"{', '.join(paths)}: damaged: {str(error).splitlines()[0]}") from None
    return Recordings(tuple(paths), metas, *functions.called(), connection, scratch)


def _files(directory: str) -> dict[str, list[str]]:
    """The Parquet files of a recording, by table."""
    found = {}
    for table in TABLES:
        each = [os.path.join(segment, f"{table}.parquet") for segment in segments(directory)]
        each = [path for path in each if os.path.exists(path)]
        found[table] = each[-1:] if table in CUMULATIVE else each
    return found


@dataclass(frozen=True, slots=True)
class _Shift:
    """What makes the numbers of one recording unique among all."""

    functions: Sequence[int]  # the common number of each of its own
    paths: int  # to be added
    places: int


def _check_functions(
    connection: duckdb.DuckDBPyConnection, path: str, count: int, files: dict[str, list[str]]
) -> None:
    """Raises RecordingError if there are rows of functions that are not in meta.json."""
    listed = [file for table, columns in TABLES.items() if "func" in columns for file in files[table]]
    if listed:
        # the footers tell, without a look at the rows
        query = (
            "select min(stats_min_value::BIGINT), max(stats_max_value::BIGINT)"
            f" from parquet_metadata([{', '.join(map(_quoted, listed))}]) where path_in_schema = 'func'"
        )
        ((least, most),) = connection.execute(query).fetchall()
        if least is not None and not 0 <= least <= most < count:
            raise RecordingError(f"{path}: damaged: calls of functions that are not in meta.json")


def _bases(
    connection: duckdb.DuckDBPyConnection, files: Sequence[dict[str, list[str]]], table: str
) -> list[int]:
    """Where the rows of each recording's cumulative table begin among those of all of them."""
    bases, base = [], 0
    for each in files:
        bases.append(base)
        for path in each[table]:
            count = connection.execute(f"select count(*) from read_parquet({_quoted(path)})").fetchone()
            base += count[0] if count else 0
    return bases


class _Functions:
    """One numbering for the functions of all recordings."""

    def __init__(self, metas: Sequence[Meta]) -> None:
        self.rows: list[tuple[int, str, str, str, int]] = []
        self.numbers: list[list[int]] = []  # by recording and its own number
        known: dict[tuple[str, str], int] = {}
        for meta in metas:
            own = []
            seen: set[int] = set()
            for row in meta.functions:
                program = os.path.basename(meta.executables[row.executable].path.partition(" (")[0])
                number = known.get((program, row.name))
                if number is None or number in seen:  # two executables of one recording are never one
                    number = len(self.rows)
                    known.setdefault((program, row.name), number)
                    self.rows.append((number, row.name, program, row.file, row.line))
                seen.add(number)
                own.append(number)
            self.numbers.append(own)

    def called(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names, and the labels, by common number."""
        count = Counter(name for _, name, *_ in self.rows)
        labels = (f"{program}: {name}" if count[name] > 1 else name for _, name, program, *_ in self.rows)
        return tuple(name for _, name, *_ in self.rows), tuple(labels)


def _view(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    recordings: Sequence[Sequence[str]],
    shifts: Sequence[_Shift],
) -> None:
    """Makes the view of one table; `recordings` are the files of each."""
    parts = []
    for number, files in enumerate(recordings):
        if files:
            columns = ", ".join(_column(table, name, number, shifts[number]) for name in TABLES[table])
            listed = ", ".join(map(_quoted, files))
            parts.append(f"select {number}::INTEGER as recording, {columns} from read_parquet([{listed}])")
    if not parts:
        typed = ", ".join(f"null::{kind} as {name}" for name, kind in TABLES[table].items())
        parts.append(f"select null::INTEGER as recording, {typed} where false")
    connection.execute(f"create view {table} as {' union all '.join(parts)}")


def _column(table: str, name: str, recording: int, shift: _Shift) -> str:
    """An expression for a column, with the recording's own numbers made unique."""
    if (table, name) in _CALL_IDS and recording:
        shifted = f"{name} | {recording << _ID_BITS}"
        return f"case when {name} = 0 then 0 else {shifted} end as {name}"
    counted = _ROWS_OF.get((table, name))
    if counted == "paths" and shift.paths:
        return f"case when {name} = {LOST_PATH} then {LOST_PATH} else ({name} + {shift.paths})::INTEGER end as {name}"
    if counted == "places" and shift.places:
        return f"({name} + {shift.places})::INTEGER as {name}"
    if name == "func" and list(shift.functions) != list(range(len(shift.functions))):
        return f"({list(shift.functions)})[{name} + 1]::INTEGER as {name}"
    return name


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
