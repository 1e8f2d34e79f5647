"""`undergo record`: keeps every call, and every change of state, for later."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import click
import numpy as np
import numpy.typing as npt

from undergo.cli.captures import capture_all, capture_options
from undergo.cli.described import describe_all, filter_all, filter_option, label_option, sig_option
from undergo.cli.flight import Books, Flight, check_all_free
from undergo.cli.options import DURATION, Request, session_options, split_option
from undergo.cli.progress import Progress
from undergo.cli.recorder import Kept, Straight, meta_of
from undergo.cli.run import (
    Ending,
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
from undergo.cli.until import check_failing, told, until
from undergo.errors import RecordingError, UsageError
from undergo.events.decode import epoch_offset, open_records
from undergo.events.records import counts
from undergo.events.values import Captured, CaptureDecoder
from undergo.kernel.session import OpenFrame, Session, Wanted
from undergo.plan.capture import Asked, Limits
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES, STATE_ROLES
from undergo.recording.window import Batch, Window
from undergo.recording.writer import SMALLEST, Writer
from undergo.views import jsonlines
from undergo.views.capture_rows import CaptureRows
from undergo.views.dry_run import dry_run_lines
from undergo.views.recording import Recorded, bytes_text, count_text, done
from undergo.views.style import compact, palette

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
@label_option
@sig_option
@capture_options
@click.option(
    "--min-duration", type=DURATION, default=0, help="only calls that took this long, and their callers"
)
@click.option("--depth", type=click.IntRange(1), help="only this many levels of traced calls")
@click.option(
    "--window",
    type=DURATION,
    help="flight recorder: keep only the last so much, and write it when something happens",
)
@click.option(
    "--until",
    "until_texts",
    multiple=True,
    metavar="WHAT",
    help="with --window: 'FUNCTION slower than 2s', 'FUNCTION panics', 'FUNCTION fails', signal (SIGUSR1, always) or"
    " exit (the end of tracing, the default); repeatable",
)
@click.option(
    "--keep", type=click.IntRange(1, 1000), default=1, show_default=True, help="with --window: how often"
)
@click.option(
    "--window-memory",
    type=Size(1_000_000),
    default="256MB",
    show_default=True,
    help="with --window: the memory that it may take",
)
@click.option("--rotate", type=Size(SMALLEST), help="keep to this size: the oldest gives way to the newest")
def command(
    request: Request,
    output: str,
    force: bool,
    states: bool,
    split: bool,
    filter_text: str | None,
    only_labels: tuple[str, ...],
    written: tuple[str, ...],
    with_args: bool,
    with_results: bool,
    paths: tuple[str, ...],
    with_labels: bool,
    with_stacks: bool,
    regs: bool,
    string_limit: int,
    depth_limit: int,
    elements: int,
    min_duration: int,
    depth: int | None,
    rotate: int | None,
    window: int | None,
    until_texts: tuple[str, ...],
    keep: int,
    window_memory: int,
) -> None:
    """Record every call of the functions you name, to look at later: a directory of Parquet files.

    \b
    Examples:
      undergo record -p 4711 -f 'main.*' --duration 10s        into run.undergo
      undergo record -p 4711 -f 'main.*' --states              with what goroutines do meanwhile
      undergo record -p 4711 -f 'main.*' --args --results -o slow.undergo
      undergo record -p 4711 -f 'main.*' --rotate 1GB          for days: the last 1 GB of it
      undergo record -f 'main.*' -- ./server -port 8080
      undergo record -p 4711 -f 'main.*' --window 30s --until 'main.handle slower than 2s'

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
        if window is None and (until_texts or keep > 1):
            raise UsageError("--until and --keep are about the flight recorder", "--window 30s makes it one")
        if window is not None and rotate is not None:
            raise UsageError(
                "--window and --rotate exclude each other", "a window is bound by --window-memory"
            )
        awaited = until(until_texts, plans)
        check_all_free(output, keep, force=force)
        described = describe_all(targets, plans, written)
        names = {each.id: each.function.name for plan in plans for each in plan.functions}
        captures, plans = capture_all(
            targets,
            plans,
            described,
            Limits(string_limit, depth_limit, elements),
            Asked(with_args, with_results or bool(awaited.failing), with_labels, with_stacks, paths),
            regs=regs,
        )
        check_failing(awaited, captures.plans, names)
        if not (with_args or with_results or with_labels or with_stacks or paths):
            needed = {each: captures.functions[each] for each in awaited.failing}
            captures = replace(captures, functions=needed)
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
            filters=filter_all(plans, described, filter_text, only_labels),
            captures=captures.plans,
        )
        asked = {
            "calls": True,
            "split": split,
            "states": states,
            "args": with_args or bool(paths),
            "results": with_results or bool(paths),
            "labels": with_labels,
            "stacks": with_stacks,
        }
        kept = [name for name, is_kept in asked.items() if is_kept]
        slots, sources = slots_of(targets.executables), Sources(targets.executables, plans)
        types = {function: types for function, (_, types, _) in captures.functions.items()}
        started, offset = time.time_ns(), epoch_offset()
        stopper, progress, recorded = Stopper(), Progress(style), Recorded()
        sink: Straight | Flight

        def begin(running: Session) -> None:
            nonlocal sink
            captures.learn_first(running)
            record, waits = running.dtype("call_record"), running.dtype("waits_record")

            def make(path: str, since: int) -> Writer:
                meta = meta_of(running, targets, plans, slots, kept, since, offset)
                return Writer(path, meta, sources, force=force, rotate=rotate)

            def open_now(frames: Sequence[OpenFrame], at: int, died: frozenset[int]) -> npt.NDArray[np.void]:
                return open_records(frames, at, died, record, waits)

            if window is None:
                sink = Straight(make(output, started), open_now)
                return
            since = time.monotonic_ns()
            books = Books(lambda: account(running, Ending(0, (), frozenset()), aggregated=False))
            memory = Window(window, window_memory, since)
            sink = Flight(memory, awaited, make, books, open_now, output, keep, window, offset)

        def tell(made: Sequence[Kept]) -> None:
            for one in made:
                progress.clear()
                if request.as_json:
                    row = one.recorded
                    line = jsonlines.recording(one.path, row.calls, row.changes, row.births, one.size)
                    jsonlines.write_batch(sys.stdout.buffer, line)
                    continue
                functions = sum(len(plan.functions) for plan in plans)
                if one.why is not None:
                    why = one.why if isinstance(one.why, str) else told(one.why, names)
                    print(style.paint(style.warm, why), file=sys.stderr)
                caveats = []
                if one.gone:
                    caveats.append(f"the oldest {count_text(one.gone, 'segment')} gave way to the newest")
                if one.crowded:
                    caveats.append("--window-memory had no room for all of --window")
                text = done(one.path, one.recorded, functions, one.wall_ns, one.size, caveats, style)
                print("\n".join(text), file=sys.stderr, flush=True)

        with session(targets, plans, wanted, begin) as running:
            announce(targets, plans, request.as_json, style)
            if window is not None and not request.as_json:
                text = f"keeping the last {compact(window)}; kill -USR1 {os.getpid()} writes them"
                print(style.paint(style.dim, text), file=sys.stderr, flush=True)
            decoder, rows = (
                CaptureDecoder(captures.functions, running.dtype("capture_record")),
                CaptureRows(types),
            )

            def read() -> tuple[Batch, Sequence[Captured]]:
                nonlocal recorded
                records, lines = running.read(), b""
                captured: Sequence[Captured] = ()
                if captures.functions:
                    # read after the calls, they hold what belongs to them
                    captured = list(decoder.feed(running.read_captures()))
                    # results that were read only to see whether calls failed are not kept
                    wanted_results = with_results or bool(paths)
                    chosen = (one for one in captured if wanted_results or not one.at_exit)
                    lines = rows.of(chosen)
                    captures.learn(running)
                recorded += Recorded(*counts(records))
                return Batch(time.monotonic_ns(), records, lines), captured

            def drain() -> bool:
                batch, captured = read()
                going_on = sink.take(batch, captured, running.open_frames, lambda: read()[0])
                tell(sink.finished())
                progress.show(recorded, sink.size, running)
                return going_on

            failure = None
            try:
                follow(running, targets, stopper, request.duration, drain)
            except RecordingError as error:
                failure = error
            ending = end(running, targets)
            row = account(running, ending, aggregated=False)
            try:
                sink.end(read()[0], ending.frames, ending.at, ending.died)
            except RecordingError as error:
                failure = failure or error
            row = sink.ledger(row)
            progress.clear()
            say_notes(running, request.as_json, style)
        try:
            sink.close(row, ending.at + offset)
            tell(sink.finished(wait=True))
        except RecordingError as error:
            failure = failure or error
        if not sink.made and not request.as_json:
            print("nothing happened that was waited for: nothing was written", file=sys.stderr)
        say_ledger(row, request.as_json, style)
        if failure is not None:
            raise failure
        leave(targets, stack)
