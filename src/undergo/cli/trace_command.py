"""`undergo trace`: a live call tree per goroutine."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack

import click

from undergo.cli.options import DURATION, session_options
from undergo.cli.run import (
    Stopper,
    account,
    banner,
    end,
    follow,
    leave,
    say_ledger,
    session,
    session_line,
)
from undergo.cli.targets import open_targets, plan_all
from undergo.events.calls import Call, CallOpened
from undergo.events.decode import calls, epoch_offset, still_open
from undergo.kernel.session import Wanted
from undergo.views import jsonlines
from undergo.views.dry_run import dry_run_lines
from undergo.views.style import palette
from undergo.views.tree import CallTree


@click.command("trace")
@session_options
@click.option(
    "--min-duration", type=DURATION, default=0, help="only calls that took this long, and their callers"
)
@click.option("--depth", type=click.IntRange(1), help="only this many levels of traced calls")
@click.option("--max-calls", type=click.IntRange(1), help="stop after this many calls")
def command(
    pids: tuple[int, ...],
    executable: str | None,
    patterns: tuple[str, ...],
    duration: int | None,
    goids: tuple[int, ...],
    max_probes: int,
    max_goroutines: int,
    dry_run: bool,
    as_root: bool,
    as_json: bool,
    color: str,
    command_line: tuple[str, ...],
    min_duration: int,
    depth: int | None,
    max_calls: int | None,
) -> None:
    """Show every call of the functions you name as a live, indented tree per goroutine.

    \b
    Examples:
      undergo trace -p 4711 -f 'main.*'
      undergo trace -p 4711 -f 'main.*' --min-duration 5ms     only what was slow
      undergo trace -f 'main.*' --json -- ./server -port 8080
      undergo trace -e ./server -f 'main.*' --dry-run          where probes would go
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets = open_targets(
            stack,
            pids,
            executable,
            command_line,
            stdout_to_stderr=as_json,
            as_root=as_root,
            launch=not dry_run,
        )
        plans = plan_all(targets, patterns, max_probes)
        if dry_run:
            click.echo("\n".join(dry_run_lines(plans, style)), color=True)
            return
        names = {f.id: f.function.name for plan in plans for f in plan.functions}
        wanted = Wanted(
            stream_calls=True,
            pids=tuple(targets.pids) if targets.pids is not None else None,
            goids=goids,
            min_duration=min_duration,
            max_depth=depth or 0,
            goroutines=max_goroutines,
        )
        stopper, offset = Stopper(), epoch_offset()
        tree = CallTree(names, style, show_pid=targets.pids is None or len(targets.pids) > 1)
        lines, out, shown = jsonlines.CallLines(names), sys.stdout.buffer, 0

        def show(records: list[Call | CallOpened]) -> None:
            nonlocal shown
            if max_calls is not None:
                records = _first(records, max_calls - shown)
            shown += sum(isinstance(record, Call) for record in records)
            if as_json:
                jsonlines.write_batch(out, lines.batch(r for r in records if isinstance(r, Call)))
            else:
                now = time.monotonic_ns()
                text = [*tree.feed(records, now), *tree.flush_due(now)]
                if text:
                    jsonlines.write_batch(out, "\n".join(text) + "\n")

        with session(targets, plans, wanted) as running:
            if as_json:
                jsonlines.write_batch(out, session_line(targets, plans))
                issues = [issue for plan in plans for issue in plan.issues]
                jsonlines.write_batch(out, "".join(map(jsonlines.issue, issues)))
            else:
                banner(plans, style)
                jsonlines.write_batch(out, tree.header() + "\n")

            def each() -> bool:
                show(calls(running.read(), offset))
                return max_calls is None or shown < max_calls

            follow(running, targets, stopper, duration, each)
            ending = end(running, targets)
            show(calls(running.read(), offset))
            show([*still_open(ending.frames, ending.at, offset, ending.died)])
            row = account(running, ending, aggregated=False)
        if as_json:
            jsonlines.write_batch(out, jsonlines.ledger(row))
        else:
            text = tree.finish(ending.at + offset)
            jsonlines.write_batch(out, "".join(line + "\n" for line in text))
            say_ledger(row, style)
        leave(targets, stack)


def _first(records: list[Call | CallOpened], calls_left: int) -> list[Call | CallOpened]:
    """The records up to and with the `calls_left`-th call."""
    kept = []
    for record in records:
        if calls_left <= 0:
            break
        kept.append(record)
        calls_left -= isinstance(record, Call)
    return kept
