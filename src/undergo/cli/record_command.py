"""`undergo record`: keeps every call, and every change of state, for later."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace

import click
import numpy as np
import numpy.typing as npt

from undergo.cli.captures import capture_all, capture_options
from undergo.cli.described import describe_all, filter_all, filter_option, sig_option
from undergo.cli.options import DURATION, Request, session_options, split_option
from undergo.cli.progress import Progress
from undergo.cli.recorder import meta_of
from undergo.cli.run import (
    Stopper,
    account,
    announce,
    can_split,
    end,
    follow,
    leave,
    say_ledger,
    say_notes,
    session,
    slots_of,
)
from undergo.cli.sources import Sources
from undergo.cli.targets import requested
from undergo.errors import RecordingError
from undergo.events.calls import Ledger
from undergo.events.decode import epoch_offset, open_records
from undergo.events.records import counts
from undergo.events.values import CaptureDecoder
from undergo.kernel.session import Session, Wanted
from undergo.plan.capture import Limits
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES, STATE_ROLES
from undergo.recording.writer import SMALLEST, Writer, check_free
from undergo.views import jsonlines
from undergo.views.capture_rows import capture_rows
from undergo.views.dry_run import dry_run_lines
from undergo.views.recording import Recorded, bytes_text, done
from undergo.views.style import palette

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


class Size(click.ParamType[int]):
    """A number of bytes such as 500MB or 1.5GB. Converted to int."""

    name = "size"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Raises click.BadParameter."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b|)", str(value).lower())
        if not match:
            self.fail(f"{value} is no size; write 500MB or 2GB", param, ctx)
        size = round(float(match[1]) * _UNITS[match[2]])
        if size < self._least:
            self.fail(f"{value} is too little; {bytes_text(self._least)} is the least", param, ctx)
        return size


@click.command("record")
@session_options
@click.option(
    "-o", "--output", default="run.undergo", show_default=True, metavar="DIRECTORY", help="where to record to"
)
@click.option("--force", is_flag=True, help="replace a recording that is there")
@click.option("--states", is_flag=True, help="every change of every goroutine's state too")
@split_option
@filter_option
@sig_option
@capture_options
@click.option(
    "--min-duration", type=DURATION, default=0, help="only calls that took this long, and their callers"
)
@click.option("--depth", type=click.IntRange(1), help="only this many levels of traced calls")
@click.option("--rotate", type=Size(SMALLEST), help="keep to this size: the oldest gives way to the newest")
def command(
    request: Request,
    output: str,
    force: bool,
    states: bool,
    split: bool,
    filter_text: str | None,
    written: tuple[str, ...],
    with_args: bool,
    with_results: bool,
    regs: bool,
    string_limit: int,
    depth_limit: int,
    elements: int,
    min_duration: int,
    depth: int | None,
    rotate: int | None,
) -> None:
    """Record every call of the functions you name, to look at later: a directory of Parquet files.

    \b
    Examples:
      undergo record -p 4711 -f 'main.*' --duration 10s        into run.undergo
      undergo record -p 4711 -f 'main.*' --states              with what goroutines do meanwhile
      undergo record -p 4711 -f 'main.*' --args --results -o slow.undergo
      undergo record -p 4711 -f 'main.*' --rotate 1GB          for days: the last 1 GB of it
      undergo record -f 'main.*' -- ./server -port 8080

    What is recorded is safe as soon as it is written, ten times a second: if undergo is killed, or the machine's disk
    fills up, the next command that reads the recording brings it to its end.
    """
    style = palette(request.color, sys.stderr.isatty(), os.environ)
    with ExitStack() as stack:
        roles = (CLOCK_ROLES if split else FRAME_ROLES) | (STATE_ROLES if states else frozenset())
        targets, plans = requested(stack, request, roles, default=True)
        if request.dry_run:
            shown = palette(request.color, sys.stdout.isatty(), os.environ)
            click.echo("\n".join(dry_run_lines(plans, shown)), color=True)
            return
        check_free(output, force=force)
        described = describe_all(targets, plans, written)
        limits = Limits(string_limit, depth_limit, elements)
        captures, plans = capture_all(
            targets, plans, described, limits, args=with_args, results=with_results, regs=regs
        )
        split = split and can_split(plans)
        wanted = Wanted(
            stream_calls=True,
            split=split,
            states=states,
            pids=tuple(targets.pids),
            goids=request.goids,
            min_duration=min_duration,
            max_depth=depth or 0,
            goroutines=request.max_goroutines,
            filters=filter_all(plans, described, filter_text),
            captures=captures.plans,
        )
        kept = {"calls": True, "split": split, "states": states, "args": with_args, "results": with_results}
        slots, sources = slots_of(targets.executables), Sources(targets.executables, plans)
        types = {function: types for function, (_, types, _) in captures.functions.items()}
        started, offset = time.time_ns(), epoch_offset()
        stopper = Stopper()
        writer: Writer

        def begin(running: Session) -> None:
            nonlocal writer
            captures.learn_first(running)
            names = [name for name, is_kept in kept.items() if is_kept]
            meta = meta_of(running, targets, plans, slots, names, started, offset)
            writer = Writer(output, meta, sources, force=force, rotate=rotate)

        with session(targets, plans, wanted, begin) as running:
            announce(targets, plans, request.as_json, style)
            decoder = CaptureDecoder(captures.functions, running.dtype("capture_record"))
            recorded, unwritten, failure = Recorded(), 0, None
            progress = Progress(style)

            def write(records: npt.NDArray[np.void], lines: bytes = b"") -> None:
                """What cannot be written is counted as dropped."""
                nonlocal recorded, unwritten, failure
                found = Recorded(*counts(records))
                if failure is None:
                    try:
                        writer.append(records, lines)
                        recorded += found
                        return
                    except RecordingError as error:
                        failure = error
                unwritten += found.events

            def drain() -> bool:
                records, lines = running.read(), b""
                if captures.functions:
                    # read after the calls, they hold what belongs to them
                    lines = capture_rows(decoder.feed(running.read_captures()), types)
                    captures.learn(running)
                write(records, lines)
                progress.show(recorded, writer.size, running)
                return failure is None

            follow(running, targets, stopper, request.duration, drain)
            ending = end(running, targets)
            drain()
            record, waits = running.dtype("call_record"), running.dtype("waits_record")
            write(open_records(ending.frames, ending.at, ending.died, record, waits))
            row = _with_unwritten(account(running, ending, aggregated=False), unwritten)
            progress.clear()
            say_notes(running, request.as_json, style)
        try:
            writer.close(ending.at + offset, asdict(row))
        except RecordingError as error:
            failure = failure or error
        size = writer.size
        if request.as_json:
            line = jsonlines.recording(output, recorded.calls, recorded.changes, recorded.births, size)
            jsonlines.write_batch(sys.stdout.buffer, line)
        else:
            functions = sum(len(plan.functions) for plan in plans)
            wall = ending.at + offset - started
            for text in done(output, recorded, functions, wall, size, writer.dropped_segments, style):
                print(text, file=sys.stderr)
        say_ledger(row, request.as_json, style)
        if failure is not None:
            raise failure
        leave(targets, stack)


def _with_unwritten(row: Ledger, count: int) -> Ledger:
    """The same where this many events came from the kernel and could not be written."""
    if not count:
        return row
    dropped = {**row.dropped, "not written": count}
    return replace(row, delivered=row.delivered - count, dropped=dropped)
