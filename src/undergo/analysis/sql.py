"""Any query over recordings, which can read them and nothing else, and write nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from undergo.analysis.ask import ask
from undergo.errors import UndergoError, UsageError
from undergo.recording.files import segments
from undergo.recording.reader import Recordings
from undergo.recording.tables import TABLES

_BATCH: Final = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns, their SQL types, and rows in batches, to be read once."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    batches: Iterator[list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be asked."""

    name: str
    columns: tuple[tuple[str, str], ...]  # names and SQL types
    rows: int


def tables(recordings: Recordings) -> list[Table]:
    """All of them, in the order of docs/recording-format.md."""
    names = [*TABLES, "functions", "recordings"]
    return [
        Table(
            name,
            tuple((str(row[0]), str(row[1])) for row in ask(recordings, f"describe {name}")),
            int(ask(recordings, f"select count(*) from {name}")[0][0]),
        )
        for name in names
    ]


def confine(recordings: Recordings) -> None:
    """From now on this connection reads the recordings' own files and no others, and cannot be told otherwise."""
    files = [
        f"{segment}/{table}.parquet"
        for path in recordings.paths
        for segment in segments(path)
        for table in TABLES
    ]
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
    for setting in (
        f"allowed_paths = [{listed}]",
        "autoload_known_extensions = false",
        "autoinstall_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        recordings.connection.execute(f"set {setting}")


def answer(recordings: Recordings, query: str) -> Answer:
    """Runs one query of a user's, confined. Raises UsageError with where it is wrong, or UndergoError."""
    import duckdb

    connection = recordings.connection
    confine(recordings)
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            raise UsageError("no query was given" if not statements else "one query at a time", _HINT)
        # Anything else could write: files that may be read may be written, by DuckDB's rules.
        if statements[0].type != duckdb.StatementType.SELECT:
            kind = statements[0].type.name
            raise UsageError(f"{kind.replace('_', ' ')}: recordings are only read; use SELECT", _HINT)
        connection.execute(statements[0])
        described = connection.description or []
        columns, types = tuple(str(each[0]) for each in described), tuple(str(each[1]) for each in described)
        first = connection.fetchmany(_BATCH)
    except duckdb.Error as error:
        raise _told(error) from None
    return Answer(columns, types, _batches(connection, first))


_HINT: Final = "`undergo sql RECORDING` lists the tables and their columns"


def _batches(connection: Any, first: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    import duckdb

    batch = first
    while batch:
        yield batch
        try:
            batch = connection.fetchmany(_BATCH)
        except duckdb.Error as error:
            raise _told(error) from None


def _told(error: Exception) -> UndergoError:
    """DuckDB's words in one line, and below it the place in the query, if it gives one."""
    import duckdb

    if isinstance(error, duckdb.OutOfMemoryException):
        return UndergoError(
            "the query needs more memory than there is", "group or filter before sorting or joining"
        )
    if "'pytz'" in str(error):
        return UsageError(
            "TIMESTAMP WITH TIME ZONE cannot be given out",
            "make_timestamp_ns(start_ns) is a time in UTC, without",
        )
    words, _, place = str(error).partition("\n\nLINE ")
    first, *more = words.splitlines() or ["unknown error"]
    said = first.partition(": ")[2] or first
    if more and more[0].startswith(("Did you mean", "Candidate bindings")):
        said = f"{said.rstrip('!')}; {more[0][0].lower()}{more[0][1:]}"
    if not place:
        return UsageError(said, _HINT)
    number, _, shown = place.partition(": ")
    line, *caret = shown.splitlines()
    # The caret stands below the text after "LINE 1: ", which is not shown.
    below = caret[0][len(f"LINE {number}: ") :] if caret else ""
    return UsageError(said, f"{line}\n{below}" if below else line)
