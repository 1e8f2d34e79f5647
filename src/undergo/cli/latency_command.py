"""`undergo latency`: how long calls take, per function, summed up in the kernel."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack

import click

from undergo.cli.described import (
    by_options,
    describe_all,
    filter_all,
    filter_option,
    key_all,
    label_option,
    sig_option,
)
from undergo.cli.options import DURATION, Request, session_options, split_option
from undergo.cli.run import (
    Stopper,
    account,
    announce,
    can_split,
    end,
    follow,
    leave,
    programs_of,
    say_ledger,
    say_notes,
    session,
    slots_of,
)
from undergo.cli.targets import Targets, requested
from undergo.events.calls import Call, Latency
from undergo.events.decode import CallDecoder, epoch_offset, latencies, still_open
from undergo.events.row_values import FUNCTION, row_values
from undergo.kernel.session import OpenFrame, Session, Wanted
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES
from undergo.plan.probe_plan import ProbePlan
from undergo.views import jsonlines
from undergo.views.dry_run import dry_run_lines
from undergo.views.histogram import histogram
from undergo.views.latency import SORT_KEYS, latency_table, value_text
from undergo.views.style import Palette, escape, palette
from undergo.views.timeline import Timeline


@click.command("latency")
@session_options
@split_option
@filter_option
@label_option
@sig_option
@by_options
@click.option("--interval", type=DURATION, help="show the figures so far this often, not only at the end")
@click.option(
    "--sort", type=click.Choice(list(SORT_KEYS)), default="sum", show_default=True, help="order of the rows"
)
@click.option(
    "--timeline/--no-timeline",
    default=None,
    help="the last calls of all programs on one axis of time; on for several programs of -c",
)
@click.option("--histogram", "with_histogram", is_flag=True, help="a histogram per function below the table")
def command(
    request: Request,
    split: bool,
    filter_text: str | None,
    only_labels: tuple[str, ...],
    written: tuple[str, ...],
    by_text: str | None,
    max_keys: int,
    interval: int | None,
    sort: str,
    timeline: bool | None,
    with_histogram: bool,
) -> None:
    """Sum up, in the kernel, how long the calls of the functions you name take, and where that time went.

    \b
    Examples:
      undergo latency -p 4711                        its HTTP and gRPC handlers, else its own module
      undergo latency -p 4711 -f 'main.handle*' --duration 10s
      undergo latency -p 4711 -f 'main.*' --interval 1s --sort p99
      undergo latency -p 4711 -f main.handle --by req.URL.Path --sort p99
      undergo latency -p 4711 -f main.handle --by 'label("tenant")' --label op=read
      undergo latency -f @sql --histogram -- ./batch input.txt
      undergo latency -c undergo.yaml                several programs: a table each, and one timeline
    """
    style = palette(request.color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets, plans = requested(stack, request, CLOCK_ROLES if split else FRAME_ROLES, default=True)
        if request.dry_run:
            click.echo("\n".join(dry_run_lines(plans, style)), color=True)
            return
        split = split and can_split(plans)
        reasons = slots_of(targets.executables).in_clocks if split else ()
        names = {f.id: f.function.name for plan in plans for f in plan.functions}
        if timeline is None:
            timeline = len(targets.binaries) > 1
        described = describe_all(targets, plans, written)
        wanted = Wanted(
            aggregate=True,
            stream_calls=timeline,
            split=split,
            pids=tuple(targets.pids),
            goids=request.goids,
            goroutines=request.max_goroutines,
            filters=filter_all(plans, described, filter_text, only_labels),
            keys=(keys := key_all(plans, described, by_text)),
            max_keys=max_keys,
        )
        stopper, out, offset = Stopper(), sys.stdout.buffer, epoch_offset()
        tables = _Tables(targets, plans, names, style, sort, with_histogram)
        picture = Timeline(names, programs_of(targets, plans), style)
        again = ""

        def show(running: Session, frames: tuple[OpenFrame, ...], *, final: bool) -> int:
            nonlocal again
            rows = list(latencies(running.latencies(), frames, reasons if split else None))
            ended = sum(row.calls - row.open for row in rows)
            values = row_values(running.key_values(), rows, keys) if keys else {}
            if request.as_json:
                text = "".join(
                    jsonlines.latency(
                        row, names[row.func & FUNCTION], (by_text, values[row.func]) if by_text else None
                    )
                    for row in rows
                )
            else:
                shown = {
                    func: f"{names[func & FUNCTION]} {by_text}={value_text(value)}"
                    for func, value in values.items()
                }
                table = tables.lines(rows, final, shown)
                table += ["", *picture.lines(tables.width)] if timeline and not final else []
                text = again + "".join(line + "\n" for line in table)
                # on a terminal the next table takes this one's place
                again = f"\x1b[{len(table)}F\x1b[J" if sys.stdout.isatty() else "\n"
            jsonlines.write_batch(out, text)
            return ended

        with session(targets, plans, wanted) as running:
            announce(targets, plans, request.as_json, style)
            due = time.monotonic_ns() + (interval or 0)
            decoder = CallDecoder(offset, reasons, running.dtype("waits_record"))
            call_lines = jsonlines.CallLines(names)

            def drain() -> None:
                if timeline:
                    calls = [record for record in decoder.feed(running.read()) if isinstance(record, Call)]
                    picture.feed(calls)
                    if request.as_json:
                        jsonlines.write_batch(out, call_lines.batch(calls))

            def each() -> bool:
                nonlocal due
                drain()
                if interval and time.monotonic_ns() >= due:
                    due += interval
                    show(running, tuple(running.open_frames()), final=False)
                return True

            follow(running, targets, stopper, request.duration, each)
            ending = end(running, targets)
            drain()
            ended = show(running, ending.frames, final=True)
            if timeline and not request.as_json:
                missed = ended - picture.seen
                picture.feed(still_open(ending.frames, ending.at, offset, ending.died, reasons))
                text = "".join(line + "\n" for line in ["", *picture.lines(tables.width, missed)])
                jsonlines.write_batch(out, text)
            row = account(running, ending, aggregated=True)
            say_notes(running, request.as_json, style)
        say_ledger(row, request.as_json, style)
        leave(targets, stack)


class _Tables:
    """One table per program."""

    def __init__(
        self,
        targets: Targets,
        plans: Sequence[ProbePlan],
        names: Mapping[int, str],
        style: Palette,
        sort: str,
        with_histogram: bool,
    ) -> None:
        self._titles = [escape(executable.display) for executable in targets.executables]
        self._plans, self._names, self._style = plans, names, style
        self._sort, self._with_histogram = sort, with_histogram
        self.width = shutil.get_terminal_size((120, 40)).columns

    def lines(self, rows: Sequence[Latency], final: bool, more: Mapping[int, str]) -> list[str]:
        """All tables; histograms only below the last. `more` are names of rows that have one of their own."""
        found: list[str] = []
        for title, plan in zip(self._titles, self._plans, strict=True):
            own = {function.id for function in plan.functions}
            if len(self._plans) > 1:
                found += [*([""] if found else []), self._style.paint(self._style.strong, f"{title}:")]
            found += self._one([row for row in rows if row.func & FUNCTION in own], own, final, more)
        return found

    def _one(
        self, rows: list[Latency], own: Collection[int], final: bool, more: Mapping[int, str]
    ) -> list[str]:
        seen = {row.func & FUNCTION for row in rows}
        names = {**self._names, **more}
        unseen = [Latency(0, func, 0, 0, 0, 0, 0, 0, 0, 0, 0, ()) for func in own if func not in seen]
        lines = list(latency_table([*rows, *unseen], names, self._style, self.width, self._sort))
        if self._with_histogram and final:
            for row in rows:
                lines += ["", *histogram(row, names[row.func], self._style, self.width)]
        return lines
