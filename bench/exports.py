"""What exports cost: seconds, of CPU too, peak memory and bytes of each format, of one large recording; medians.

    python bench/recordings.py /tmp/big.undergo 4e6
    python bench/exports.py /tmp/big.undergo [FORMAT...]

And of a recording with a million call paths, which this makes: the sums by path have no more rows than there are paths.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.recordings import ledger
from undergo.recording.meta import ExecutableRow, FunctionRow, Host, Meta, ProcessRow

FORMATS = ("perfetto", "chrome", "pprof", "folded", "speedscope", "flamegraph", "parquet", "csv")
SUMMED = ("pprof", "folded", "speedscope", "flamegraph")
RUNS = 3
START = 1_700_000_000_000_000_000  # ns since the epoch
PATHS, FAN_OUT, FUNCTIONS = 1_000_000, 8, 2_000


def main() -> None:
    """Measures and prints."""
    recording, formats = Path(sys.argv[1]), sys.argv[2:] or FORMATS
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'s':>6}{'CPU s':>7}{'MB':>6}{'MB out':>8}  format")
        for format in formats:
            print(line(recording, format, Path(folder)), flush=True)
        for paths in (50_000, PATHS):
            wide = wide_recording(Path(folder) / f"wide{paths}", paths)
            for format in SUMMED:
                if format in formats:
                    print(f"{line(wide, format, Path(folder))}, {paths:,} call paths", flush=True)


def line(recording: Path, format: str, folder: Path) -> str:
    """Measurements of fresh processes."""
    out = folder / f"out.{format}"
    arguments = ["export", str(recording), "--to", format, "-o", str(out), "--force"]
    measured = []
    for _ in range(RUNS):
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "undergo.cli.main", *arguments])
        _, status, used = os.wait4(process.pid, 0)
        took = time.monotonic() - began
        assert not status
        measured.append((took, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6))
    size = out.stat().st_size / 1e6
    out.unlink()
    took, cpu, memory = map(statistics.median, zip(*measured, strict=True))
    return f"{took:6.2f}{cpu:7.2f}{memory:6.0f}{size:8.1f}  {format}"


def wide_recording(directory: Path, paths: int) -> Path:
    """One call by each of many paths, callees within their callers."""
    where = directory / "segments" / "000000"
    where.mkdir(parents=True)
    # path n calls the paths from n * FAN_OUT on; all are of one length, so that callees fit into their callers
    depth = f"floor(ln((path - 1) * {FAN_OUT - 1} + 1.5) / ln({FAN_OUT}))::INTEGER"
    with duckdb.connect() as database:
        database.execute(
            f"create table paths as select path::INTEGER as path, case when path > 1 then ((path - 2) // {FAN_OUT} + 1)"
            f"::INTEGER end as parent, (path * 7919 % {FUNCTIONS})::INTEGER as func, {depth} as depth"
            f" from range(1, {paths + 1}) t(path)"
        )
        database.execute(
            f"create table calls as select path::BIGINT as id, coalesce(parent, 0)::BIGINT as parent, func, path,"
            f" 100 as pid, 100 as tid, 1::BIGINT as goid, depth, {START} + path as start_ns,"
            f" (2000 * power({FAN_OUT}, 8 - depth))::BIGINT as wall_ns, 'return' as ending,"
            " wall_ns // 4 as running_ns, 0::BIGINT as descheduled_ns, wall_ns // 8 as syscall_ns,"
            " 0::BIGINT as runnable_ns, wall_ns - wall_ns // 4 - wall_ns // 8 as waiting_ns from paths"
        )
        for table in ("paths", "calls"):
            database.execute(f"copy {table} to '{where / table}.parquet' (format parquet)")
    Meta(
        undergo="0", host=Host("bench", "6.18", "x86_64", 2), started_ns=START, offset_ns=START,
        kept=("calls", "split"), executables=(ExecutableRow("/bin/shop", "go1.27.3", "b", "shop"),),
        processes=(ProcessRow(100, 0),),
        functions=tuple(FunctionRow(f"example.test/shop/package{n % 90}.(*Type{n}).Method", 0, "main.go", n)
                        for n in range(FUNCTIONS)),
        clock_reasons=(), state_reasons=(), birth_sites=((),), layouts={}, ended_ns=START + 10**9,
        ledger=ledger(paths),
    ).write(os.fspath(directory))  # fmt: skip
    return directory


if __name__ == "__main__":
    main()
