"""`undergo latency`: how long calls take, per function, summed up in the kernel."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import ExitStack

import click

from undergo.cli.options import DURATION, Request, session_options, split_option
from undergo.cli.run import (
    Stopper,
    account,
    announce,
    can_split,
    end,
    follow,
    leave,
    say_ledger,
    session,
    slots_of,
)
from undergo.cli.targets import requested
from undergo.events.calls import Latency
from undergo.events.decode import latencies
from undergo.kernel.session import OpenFrame, Session, Wanted
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES
from undergo.views import jsonlines
from undergo.views.dry_run import dry_run_lines
from undergo.views.histogram import histogram
from undergo.views.latency import SORT_KEYS, latency_table
from undergo.views.style import palette


@click.command("latency")
@session_options
@split_option
@click.option("--interval", type=DURATION, help="show the figures so far this often, not only at the end")
@click.option(
    "--sort", type=click.Choice(list(SORT_KEYS)), default="sum", show_default=True, help="order of the rows"
)
@click.option("--histogram", "with_histogram", is_flag=True, help="a histogram per function below the table")
def command(
    request: Request,
    split: bool,
    interval: int | None,
    sort: str,
    with_histogram: bool,
) -> None:
    """Sum up, in the kernel, how long the calls of the functions you name take.

    \b
    Examples:
      undergo latency -p 4711 -f 'main.handle*' --duration 10s
      undergo latency -p 4711 -f 'main.*' --interval 1s --sort p99
      undergo latency -f 'main.*' --histogram -- ./batch input.txt
    """
    style = palette(request.color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets, plans = requested(stack, request, CLOCK_ROLES if split else FRAME_ROLES)
        if request.dry_run:
            click.echo("\n".join(dry_run_lines(plans, style)), color=True)
            return
        split = split and can_split(plans)
        reasons = slots_of(targets.executables).in_clocks if split else None
        names = {f.id: f.function.name for plan in plans for f in plan.functions}
        wanted = Wanted(
            aggregate=True,
            split=split,
            pids=tuple(targets.pids) if targets.pids is not None else None,
            goids=request.goids,
            goroutines=request.max_goroutines,
        )
        stopper, out, again = Stopper(), sys.stdout.buffer, ""

        def show(running: Session, frames: tuple[OpenFrame, ...], *, final: bool) -> None:
            nonlocal again
            rows = list(latencies(running.latencies(), frames, reasons))
            if request.as_json:
                text = "".join(jsonlines.latency(row, names[row.func]) for row in rows)
            else:
                table = _table(rows, final)
                text = again + "".join(line + "\n" for line in table)
                # on a terminal the next table takes this one's place
                again = f"\x1b[{len(table)}F\x1b[J" if sys.stdout.isatty() else "\n"
            jsonlines.write_batch(out, text)

        def _table(rows: list[Latency], final: bool) -> list[str]:
            width = shutil.get_terminal_size((120, 40)).columns
            seen = {row.func for row in rows}
            unseen = [Latency(0, func, 0, 0, 0, 0, 0, 0, 0, 0, 0, ()) for func in names if func not in seen]
            lines = list(latency_table([*rows, *unseen], names, style, width, sort))
            if with_histogram and final:
                for row in rows:
                    lines += ["", *histogram(row, names[row.func], style, width)]
            return lines

        with session(targets, plans, wanted) as running:
            announce(targets, plans, request.as_json, style)
            due = time.monotonic_ns() + (interval or 0)

            def each() -> bool:
                nonlocal due
                if interval and time.monotonic_ns() >= due:
                    due += interval
                    show(running, tuple(running.open_frames()), final=False)
                return True

            follow(running, targets, stopper, request.duration, each)
            ending = end(running, targets)
            show(running, ending.frames, final=True)
            row = account(running, ending, aggregated=True)
        say_ledger(row, request.as_json, style)
        leave(targets, stack)
