"""How everything here asks a recording's tables: a query in, rows out, and failures in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from undergo.errors import RecordingError, UndergoError
from undergo.recording.reader import Recordings

#: What DuckDB may take for itself; with the interpreter and its buffers that stays below 512 MB.
MEMORY: Final = "400MB"

#: Bins of the split, as columns of `calls`.
BIN_COLUMNS: Final = ("running_ns", "descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns")


def ask(recordings: Recordings, query: str, given: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query that is undergo's own. Raises UndergoError."""
    import duckdb

    try:
        return recordings.connection.execute(query, given).fetchall()
    except duckdb.OutOfMemoryException:
        raise UndergoError(
            "there is too little memory, or room for temporary files, to answer this",
            "ask for less: name functions with -f, or group by something with fewer values",
        ) from None
    except duckdb.ParserException:
        raise  # the query's fault, not the recording's
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        raise RecordingError(f"{', '.join(recordings.paths)}: damaged: {said}") from None
