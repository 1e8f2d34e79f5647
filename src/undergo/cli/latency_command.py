"""`undergo latency`: how long calls take, per function, summed up in the kernel."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

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
from undergo.cli.latency_output import JsonOutput, TextOutput
from undergo.cli.latency_rows import LatencyRows
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
from undergo.cli.scrapes import listen_for_scrapes, prometheus_option, scrapes
from undergo.cli.targets import requested
from undergo.events.calls import Call
from undergo.events.decode import CallDecoder, epoch_offset, still_open
from undergo.kernel.session import Wanted
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES
from undergo.views.dry_run import dry_run_lines
from undergo.views.latency import SORT_KEYS
from undergo.views.style import palette

if TYPE_CHECKING:
    from undergo.exports.endpoint import Address


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
@prometheus_option
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
    address: Address | None,
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
      undergo latency -p 4711 --prometheus :9464     for Prometheus, until Ctrl-C; see docs/prometheus.md
      undergo latency -c undergo.yaml                several programs: a table each, and one timeline
    """
    style = palette(request.color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        listener = None
        if address and not request.dry_run:
            listener = stack.enter_context(listen_for_scrapes(address))
        targets, plans = requested(stack, request, CLOCK_ROLES if split else FRAME_ROLES, default=True)
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
        if request.dry_run:
            click.echo("\n".join(dry_run_lines(plans, style)), color=True)
            return
        output: JsonOutput | TextOutput = (
            JsonOutput(names, by_text)
            if request.as_json
            else TextOutput(
                targets,
                plans,
                names,
                style,
                by_text=by_text,
                sort=sort,
                timeline=timeline,
                with_histogram=with_histogram,
            )
        )
        stopper, offset = Stopper(), epoch_offset()
        with session(targets, plans, wanted) as running:
            announce(targets, plans, request.as_json, style)
            decoder = CallDecoder(offset, reasons, running.dtype("waits_record"))
            rows = LatencyRows(running, reasons if split else None, keys)

            def drain() -> None:
                if timeline:
                    output.calls([call for call in decoder.feed(running.read()) if isinstance(call, Call)])

            due = time.monotonic_ns() + (interval or 0)

            def each() -> bool:
                nonlocal due
                drain()
                if interval and time.monotonic_ns() >= due:
                    due += interval
                    output.rows(rows.read(running.open_frames()), final=False)
                return True

            with ExitStack() as meanwhile:
                if listener:
                    own = LatencyRows(running, reasons if split else None, keys)
                    programs = programs_of(targets, plans)
                    meanwhile.enter_context(
                        scrapes(listener, running, own, names, programs, by=bool(keys), style=style)
                    )
                follow(running, targets, stopper, request.duration, each)
            ending = end(running, targets)
            drain()
            last = rows.read(ending.frames)
            output.rows(last, final=True)
            if timeline:
                ended = sum(row.calls - row.open for row in last.rows)
                output.end(ended, still_open(ending.frames, ending.at, offset, ending.died, reasons))
            row = account(running, ending, aggregated=True)
            say_notes(running, request.as_json, style)
        say_ledger(row, request.as_json, style)
        leave(targets, stack)
