"""`undergo trace`: a live call tree per goroutine."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import click

from undergo.cli.captures import Capturing, capture_all, capture_options
from undergo.cli.described import describe_all, filter_all, filter_option, label_option, sig_option
from undergo.cli.options import DURATION, Request, session_options, split_option
from undergo.cli.reading import Values
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
from undergo.cli.targets import requested
from undergo.events.calls import Call, CallOpened, Ledger
from undergo.events.decode import CallDecoder, epoch_offset, still_open
from undergo.events.tail import Tail
from undergo.kernel.session import Wanted
from undergo.plan.planner import CLOCK_ROLES, FRAME_ROLES
from undergo.views import jsonlines
from undergo.views.dry_run import dry_run_lines
from undergo.views.style import palette
from undergo.views.tree import CallTree


@click.command("trace")
@session_options
@split_option
@filter_option
@label_option
@sig_option
@capture_options
@click.option(
    "--min-duration", type=DURATION, default=0, help="only calls that took this long, and their callers"
)
@click.option(
    "--slow",
    type=DURATION,
    help="whole trees, but only of outermost calls that took this long, panicked or returned an error",
)
@click.option("--depth", type=click.IntRange(1), help="only this many levels of traced calls")
@click.option("--max-calls", type=click.IntRange(1), help="stop after this many calls")
def command(
    request: Request,
    split: bool,
    filter_text: str | None,
    only_labels: tuple[str, ...],
    written: tuple[str, ...],
    capturing: Capturing,
    min_duration: int,
    slow: int | None,
    depth: int | None,
    max_calls: int | None,
) -> None:
    """Show every call of the functions you name as a live, indented tree per goroutine.

    \b
    Examples:
      undergo trace -p 4711 -f 'main.*'
      undergo trace -p 4711 -f 'main.*' --min-duration 5ms     only what was slow
      undergo trace -p 4711 -f main.handle --args --results    with what it was given and gave back
      undergo trace -p 4711 -f main.handle --filter 'n > 10 && err != nil'
      undergo trace -p 4711 -f main.serve --show req.Header --labels --label tenant=acme
      undergo trace -p 4711 -f main.f --args --sig 'main.f(id string, n int) error'    in a stripped program
      undergo trace -p 4711 -f 'main.*' --args --slow 50ms     what went wrong, from the first call to the last
      undergo trace -f 'main.*' --json -- ./server -port 8080
      undergo trace -e ./server -f 'main.*' --dry-run          where probes would go
    """
    style = palette(request.color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets, plans = requested(stack, request, CLOCK_ROLES if split else FRAME_ROLES)
        described = describe_all(targets, plans, written)
        # an error is something that a call gives back
        asked = replace(capturing.asked, results=capturing.asked.results or slow is not None)
        captures, plans = capture_all(targets, plans, described, replace(capturing, asked=asked))
        split = split and can_split(plans)
        reasons = slots_of(targets.executables).in_clocks
        names = {f.id: f.function.name for plan in plans for f in plan.functions}
        wanted = Wanted(
            stream_calls=True,
            split=split,
            pids=tuple(targets.pids),
            goids=request.goids,
            min_duration=min_duration,
            max_depth=depth or 0,
            goroutines=request.max_goroutines,
            filters=filter_all(plans, described, filter_text, only_labels),
            captures=captures.plans,
        )
        if request.dry_run:
            click.echo("\n".join(dry_run_lines(plans, style)), color=True)
            return
        stopper, offset = Stopper(), epoch_offset()
        out, limit = sys.stdout.buffer, _Limit(max_calls)
        with session(targets, plans, wanted, captures.learn_first) as running:
            announce(targets, plans, request.as_json, style)
            values, shown = captures.values(running), bool(captures.functions)
            learner = Values(running, captures, results=True)
            tree = CallTree(names, style, targets.several, values if shown else None)
            lines = jsonlines.CallLines(names, values if shown else None)
            tail = None if slow is None else Tail(slow, lambda call: values.failed(call.id), values.forget)
            decoder = CallDecoder(offset, reasons, running.dtype("waits_record"))
            if not request.as_json:
                jsonlines.write_batch(out, tree.header() + "\n")

            def show(records: list[Call | CallOpened]) -> None:
                records = limit.admit(tail.admit(records) if tail else records)
                if request.as_json:
                    jsonlines.write_batch(out, lines.batch(r for r in records if isinstance(r, Call)))
                else:
                    now = time.monotonic_ns()
                    text = [*tree.feed(records, now), *tree.flush_due(now)]
                    if text:
                        jsonlines.write_batch(out, "\n".join(text) + "\n")

            def drain() -> None:
                records = running.read()
                if shown:
                    # read after the calls, they hold what belongs to them
                    given = running.read_captures()
                    values.feed(given)
                    learner.glance(given)
                show(decoder.feed(records))
                learner.learn()

            def each() -> bool:
                drain()
                return not limit.reached()

            follow(running, targets, stopper, request.duration, each)
            ending = end(running, targets)
            drain()
            show([*still_open(ending.frames, ending.at, offset, ending.died, reasons)])
            row = limit.account(account(running, ending, aggregated=False))
            if tail:
                tail.finish()
                row = row.without(tail.cut)
            say_notes(running, request.as_json, style)
        if not request.as_json:
            text = tree.finish(ending.at + offset)
            jsonlines.write_batch(out, "".join(line + "\n" for line in text))
        say_ledger(row, request.as_json, style)
        leave(targets, stack)


class _Limit:
    """Lets a number of calls through, then no new tree: those that have begun are shown to their end."""

    def __init__(self, calls_left: int | None) -> None:
        self._left = calls_left
        self._begun: set[int] = set()
        self._cut = 0

    def account(self, row: Ledger) -> Ledger:
        """The ledger with the calls that were not let through as filtered."""
        return row.without(self._cut)

    def reached(self) -> bool:
        """Whether enough calls were let through."""
        return self._left is not None and self._left <= 0

    def admit(self, records: list[Call | CallOpened]) -> list[Call | CallOpened]:
        """The records that are shown."""
        if self._left is None:
            return records
        kept = []
        for record in records:
            if self._left <= 0 and not {record.id, record.parent} & self._begun:
                self._cut += isinstance(record, Call)
                continue
            kept.append(record)
            if isinstance(record, Call):
                self._left -= 1
                self._begun.discard(record.id)
            else:
                self._begun.add(record.id)
        return kept
