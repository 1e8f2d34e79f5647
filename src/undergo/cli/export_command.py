"""`undergo export`: recordings in the formats of other tools."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import BinaryIO, Final
from urllib.parse import unquote

import click

from undergo.cli.recordings import opened
from undergo.errors import UsageError
from undergo.exports.output import STDOUT, placed, readable, written
from undergo.recording.reader import Recordings
from undergo.recording.tables import TABLES

FORMATS: Final = (
    "perfetto", "pprof", "flamegraph", "folded", "speedscope", "chrome", "otlp", "parquet", "csv",
)  # fmt: skip
_BINARY = ("perfetto", "pprof", "parquet")
_TIMELINES = ("perfetto", "chrome", "otlp")  # of which it is known how far they are
_MERGED = "shown together, below `(more callers)`"
#: Formats whose readers cannot do with any number of levels, and what becomes of the deeper ones.
_NESTED: Final = {
    "perfetto": "not drawn, for Perfetto nests no more than 512",
    **dict.fromkeys(("pprof", "flamegraph", "folded", "speedscope"), _MERGED),
}
_MEMORY = "200MB"  # of what a stretch of the timeline or the sums by path take


@click.command("export")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option(
    "--to", "format", type=click.Choice(FORMATS), required=True, metavar="FORMAT", help="one of those above"
)
@click.option("-o", "--output", default=STDOUT, metavar="FILE", help="where to; `-`, the default, is stdout")
@click.option("--force", is_flag=True, help="overwrite FILE")
@click.option(
    "--value",
    type=click.Choice(
        ["wall", "running", "descheduled", "syscall", "runnable", "waiting", "unsplit", "calls"]
    ),
    default="wall",
    show_default=True,
    help="of folded: what a line counts",
)
@click.option(
    "--table", type=click.Choice(list(TABLES)), default="calls", show_default=True, help="of parquet, csv"
)
@click.option(
    "--endpoint",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    default="http://localhost:4318",
    show_default=True,
    metavar="URL",
    help="of otlp: the collector",
)
def command(
    recordings: tuple[str, ...],
    format: str,
    output: str,
    force: bool,
    value: str,
    table: str,
    endpoint: str,
) -> None:
    """Write recordings in the formats of other tools.

    \b
    Formats:
      perfetto     ui.perfetto.dev: every goroutine on a timeline, its states, who woke it
      pprof        go tool pprof: times by call path, a sample type per bin
      flamegraph   a page for any browser, coloured by bin; needs no network
      folded       flamegraph.pl, inferno: a line per call path, of --value
      speedscope   speedscope.app: a profile per bin
      chrome       chrome://tracing: a timeline in JSON
      otlp         spans for an OpenTelemetry collector, at --endpoint
      parquet csv  a table, of --table, with the functions' names

    \b
    Examples:
      undergo export run.undergo --to perfetto -o run.pftrace
      undergo export run.undergo --to flamegraph -o run.html
      undergo export run.undergo --to pprof -o run.pb.gz && go tool pprof -http : run.pb.gz
      undergo export run.undergo --to folded --value waiting | flamegraph.pl > waiting.svg
      undergo export run.undergo --to otlp --endpoint http://collector:4318
    """
    if format in _BINARY and output == STDOUT and sys.stdout.isatty():
        raise UsageError(f"{format} is not for terminals", "-o FILE says where to write it")
    from undergo.exports.loss import notes, too_deep
    from undergo.exports.timeline import DEEPEST

    with opened(recordings, _MEMORY, tell=format not in _TIMELINES) as read, readable():
        said = notes(read)
        if format in _NESTED:
            said += too_deep(read, DEEPEST, _NESTED[format])
        for line in said:
            print(f"note: {line}", file=sys.stderr)
        row = read.connection.execute(f"select count(*) from {table}").fetchone()
        count = row[0] if row else 0
        if not count:
            print(f"note: no rows in {table}: what is written is valid, and empty", file=sys.stderr)
        _export(read, format, output, force, said, value, table, endpoint)


def _export(
    read: Recordings,
    format: str,
    output: str,
    force: bool,
    notes: list[str],
    value: str,
    table: str,
    endpoint: str,
) -> None:
    progress = _Progress(read)
    if format in ("parquet", "csv"):
        from undergo.exports import tables

        with placed(output, force) as path:
            tables.export(read, path, format, table)
        return
    if format == "otlp":
        from undergo.exports import otlp

        try:
            said = otlp.export(read, endpoint, _headers(os.environ), progress)
        finally:
            progress.done()
        for line in said:
            print(f"note: {line}", file=sys.stderr)
        return
    with written(output, force) as out:
        if format == "perfetto":
            from undergo.exports import perfetto

            perfetto.export(read, out, notes, progress)
        elif format == "chrome":
            from undergo.exports import chrome

            chrome.export(read, out, notes, progress)
        else:
            _summed(read, format, out, notes, value)
    progress.done()


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    """More headers for the collector, from where OpenTelemetry's own exporters take them: `key=value,key=value`."""
    given = environment.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = [pair.partition("=") for pair in given.split(",") if "=" in pair]
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}


def _summed(read: Recordings, format: str, out: BinaryIO, notes: list[str], value: str) -> None:
    """The formats of times by call path."""
    from undergo.exports import flamegraph, folded, pprof, speedscope
    from undergo.exports.stacks import stacks

    found = stacks(read)
    if found.negative:
        what = "1 call path has" if found.negative == 1 else f"{found.negative:,} call paths have"
        notes = [
            *notes,
            f"{what} more time in callees than of its own: calls were lost; shown as none of its own",
        ]
        print(f"note: {notes[-1]}", file=sys.stderr)
    if format == "folded":
        if not found.split and value not in ("wall", "calls", "unsplit") and found.calls.any():
            raise UsageError(
                f"nothing is known of {value}",
                "these calls were recorded without their split; try --value wall",
            )
        folded.export(found, out, value)
    elif format == "pprof":
        pprof.export(found, read, out, notes)
    elif format == "speedscope":
        speedscope.export(found, read, out, notes)
    else:
        flamegraph.export(found, read, out, notes)


class _Progress:
    """Tells how far a timeline is, on a terminal, from two seconds on."""

    _EVERY = 0.2  # s

    def __init__(self, read: Recordings) -> None:
        self._count = 0
        self._next = time.monotonic() + 2
        tables = ("calls", "states", "births") if sys.stderr.isatty() else ()
        self._whole = sum(
            read.connection.execute(f"select count(*) from {name}").fetchall()[0][0] for name in tables
        )
        self._said = False

    def __call__(self, rows: int) -> None:
        self._count += rows
        if not self._whole or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._EVERY
        self._said = True
        share = 100 * self._count // self._whole
        print(
            f"\r{self._count:,} of {self._whole:,} rows, {share} %\x1b[K", end="", file=sys.stderr, flush=True
        )

    def done(self) -> None:
        """Takes the line away."""
        if self._said:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
