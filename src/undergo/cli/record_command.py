"""`undergo record`: keeps every call, and every change of state, for later."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import click
import numpy as np
import numpy.typing as npt

from undergo.cli.captures import Capturing, capture_all, capture_options
from undergo.cli.described import describe_all, filter_all, filter_option, label_option, sig_option
from undergo.cli.flight import Books, Flight, Make, check_all_free
from undergo.cli.options import DURATION, Request, Size, session_options, split_option
from undergo.cli.progress import Progress
from undergo.cli.reading import MakeValues, Reader, Values
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
from undergo.cli.targets import Targets, requested
from undergo.cli.until import Until, check_failing, told, until
from undergo.errors import RecordingError, UsageError
from undergo.events.decode import epoch_offset, open_records
from undergo.kernel.session import OpenFrame, Session, Wanted
from undergo.plan.capture import Asked
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES, STATE_ROLES
from undergo.plan.probe_plan import ProbePlan
from undergo.recording.window import Window
from undergo.recording.writer import SMALLEST, Writer
from undergo.views import jsonlines
from undergo.views.dry_run import dry_run_lines
from undergo.views.recording import count_text, done
from undergo.views.style import Palette, compact, escape, palette


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
    capturing: Capturing,
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
    to = _Output(output, force, rotate, window, window_memory, keep)
    with ExitStack() as stack:
        roles = (CLOCK_ROLES if split else FRAME_ROLES) | (STATE_ROLES if states else frozenset())
        targets, plans = requested(stack, request, roles, default=True)
        to.check(until_texts, dry=request.dry_run)
        awaited = until(until_texts, plans)
        described = describe_all(targets, plans, written)
        names = {each.id: each.function.name for plan in plans for each in plan.functions}
        asked = capturing.asked
        all_read = replace(asked, results=asked.results or bool(awaited.failing))
        captures, plans = capture_all(targets, plans, described, replace(capturing, asked=all_read))
        check_failing(awaited, captures.plans, names)
        if asked == Asked():
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
        if request.dry_run:
            shown = palette(request.color, sys.stdout.isatty(), os.environ)
            click.echo("\n".join(dry_run_lines(plans, shown)), color=True)
            return
        kept = _kept(asked, split=split, states=states)
        told_of = _Told(request.as_json, names, len(names), style)
        stopper, offset, started = Stopper(), epoch_offset(), time.time_ns()

        sink: Straight | Flight

        def begin(running: Session) -> None:
            """Before a command is let go, which would run in vain if nothing can be written."""
            nonlocal sink
            captures.learn_first(running)
            make = _maker(to, running, targets, plans, kept, offset)
            results = asked.results or bool(asked.paths)

            def make_values() -> Values:
                return Values(running, captures, results=results)

            sink = to.sink(running, make, make_values, awaited, offset, started)

        with session(targets, plans, wanted, begin) as running:
            announce(targets, plans, request.as_json, style)
            to.say_how(request.as_json, style)
            reader = Reader(running, captures=bool(captures.functions))

            def drain() -> bool:
                going_on = sink.take(reader.read(), running.open_frames, reader.read)
                told_of.tell(sink.finished())
                told_of.progress.show(reader.recorded, sink.size, running, sink.writing)
                return going_on

            failure = None
            try:
                follow(running, targets, stopper, request.duration, drain, lambda: sink.busy)
            except RecordingError as error:
                failure = error
            ending = end(running, targets)
            row = account(running, ending, aggregated=False)
            told_of.writing(sink.writing)
            try:
                while failure is None and sink.busy:
                    drain()
                sink.end(reader.read(), ending.frames, ending.at, ending.died)
            except RecordingError as error:
                failure = failure or error
            row = sink.ledger(row)
            told_of.progress.clear()
            say_notes(running, request.as_json, style, sink.lost)
        try:
            sink.close(row, ending.at + offset)
            told_of.writing(sink.writing)
            told_of.tell(sink.finished(wait=True))
        except RecordingError as error:
            failure = failure or error
        if not sink.made and not request.as_json:
            print("nothing happened that was waited for: nothing was written", file=sys.stderr)
        say_ledger(row, request.as_json, style)
        if failure is not None:
            raise failure
        leave(targets, stack)


def _kept(asked: Asked, *, split: bool, states: bool) -> list[str]:
    """What meta.json says is in a recording."""
    is_kept = {
        "calls": True,
        "split": split,
        "states": states,
        "args": asked.args or bool(asked.paths),
        "results": asked.results or bool(asked.paths),
        "labels": asked.labels,
        "stacks": asked.stacks,
    }
    return [name for name, is_there in is_kept.items() if is_there]


def _maker(
    to: _Output,
    running: Session,
    targets: Targets,
    plans: Sequence[ProbePlan],
    kept: Sequence[str],
    offset: int,
) -> Make:
    """What makes a recording at a place, of what came since a time."""
    slots, sources = slots_of(targets.executables), Sources(targets.executables, plans)

    def make(path: str, since: int) -> Writer:
        meta = meta_of(running, targets, plans, slots, kept, since, offset)
        return Writer(path, meta, sources, force=to.force, rotate=to.rotate)

    return make


@dataclass(frozen=True, slots=True)
class _Output:
    """Where recordings go, and how much of what comes. Sizes in bytes, `window` in ns."""

    path: str
    force: bool
    rotate: int | None
    window: int | None
    window_memory: int
    keep: int

    def check(self, until_texts: Sequence[str], *, dry: bool) -> None:
        """Raises UsageError for what does not go together, RecordingError for places that are taken, unless `dry`."""
        if self.window is None and (until_texts or self.keep > 1):
            raise UsageError("--until and --keep are about the flight recorder", "--window 30s makes it one")
        if self.window is not None and self.rotate is not None:
            raise UsageError(
                "--window and --rotate exclude each other", "a window is bound by --window-memory"
            )
        if self.window == 0:
            raise UsageError("--window 0 keeps nothing", "say how much is to be kept: --window 30s")
        if not dry:
            check_all_free(self.path, self.keep, force=self.force)

    def sink(
        self,
        running: Session,
        make: Make,
        values: MakeValues,
        awaited: Until,
        offset: int,
        started: int,
    ) -> Straight | Flight:
        """To the disk at once, or to memory; `started` in ns since the epoch."""
        record, waits = running.dtype("call_record"), running.dtype("waits_record")

        def open_now(frames: Sequence[OpenFrame], at: int, died: frozenset[int]) -> npt.NDArray[np.void]:
            return open_records(frames, at, died, record, waits)

        if self.window is None:
            return Straight(make(self.path, started), open_now, values())
        books = Books(lambda: account(running, Ending(0, (), frozenset()), aggregated=False))
        memory = Window(self.window, self.window_memory, time.monotonic_ns())
        return Flight(
            memory, values, awaited, make, books, open_now, self.path, self.keep, self.window, offset
        )

    def say_how(self, as_json: bool, style: Palette) -> None:
        """How to have the window written."""
        if self.window is not None and not as_json:
            text = f"keeping the last {compact(self.window)}; kill -USR1 {os.getpid()} writes them"
            print(style.paint(style.dim, text), file=sys.stderr, flush=True)


class _Told:
    """What is said of recordings, while they are made and when they are there."""

    def __init__(self, as_json: bool, names: Mapping[int, str], functions: int, style: Palette) -> None:
        self.progress = Progress(style)
        self._as_json, self._names, self._functions, self._style = as_json, names, functions, style

    def writing(self, what: str) -> None:
        """Tracing has ended, and this is still to be done."""
        if what and not self._as_json:
            self.progress.clear()
            line = self._style.paint(self._style.dim, f"writing {escape(what)} ...")
            print(line, file=sys.stderr, flush=True)

    def tell(self, made: Sequence[Kept]) -> None:
        """These were completed."""
        for one in made:
            self.progress.clear()
            if self._as_json:
                row = one.recorded
                line = jsonlines.recording(one.path, row.calls, row.changes, row.births, one.size)
                jsonlines.write_batch(sys.stdout.buffer, line)
            else:
                print("\n".join(self._lines(one)), file=sys.stderr, flush=True)

    def _lines(self, one: Kept) -> list[str]:
        style, why, caveats = self._style, [], []
        if one.why is not None:
            why = [
                style.paint(style.warm, one.why if isinstance(one.why, str) else told(one.why, self._names))
            ]
        if one.gone:
            caveats.append(f"the oldest {count_text(one.gone, 'segment')} gave way to the newest")
        if one.crowded:
            caveats.append("--window-memory had no room for all of --window")
        return why + done(one.path, one.recorded, self._functions, one.wall_ns, one.size, caveats, style)
