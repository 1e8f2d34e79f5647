"""Tables of a recording as one Parquet or CSV file, for other tools."""

from __future__ import annotations

from typing import Final

from undergo.recording.reader import Recordings
from undergo.recording.tables import TABLES

FORMATS: Final = {
    "parquet": "format parquet, compression zstd, parquet_version v2",
    "csv": "format csv, header true",
}


def export(recordings: Recordings, path: str, format: str, table: str) -> None:
    """Writes a table to `path`; with the functions' names beside their numbers, where it has them."""
    names = ", f.name as function, f.program as program" if "func" in TABLES[table] else ""
    join = " left join functions f on t.func = f.func" if names else ""
    source = path.replace("'", "''")
    recordings.connection.execute(
        f"copy (select t.*{names} from {table} t{join}) to '{source}' ({FORMATS[format]}, use_tmp_file false)"
    )
