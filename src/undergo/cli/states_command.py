"""`undergo states`: every change of every goroutine's state, or a summary of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import click
import numpy as np
import numpy.typing as npt

from undergo.cli.options import Request, watch_options
from undergo.cli.run import Stopper, account, announce, end, follow, leave, say_ledger, session, slots_of
from undergo.cli.sources import Sources
from undergo.cli.targets import watched
from undergo.errors import UsageError
from undergo.events.decode import epoch_offset, latencies
from undergo.events.states import NUMBERS, SUMMED, Birth, Longests, StateChange, StateDecoder, stays
from undergo.kernel.session import Wanted
from undergo.plan.wait_slots import WaitSlots
from undergo.views import jsonlines
from undergo.views.dry_run import dry_run_lines
from undergo.views.states import header, line, summary
from undergo.views.style import palette

_STATES = ("runnable", "running", "syscall", "waiting", "dead", "preempted")


@click.command("states")
@watch_options
@click.option("--summary", "summed", is_flag=True, help="per state and wait reason, summed up in the kernel")
@click.option(
    "--state",
    "only_states",
    type=click.Choice(_STATES),
    multiple=True,
    help="only changes into this state or out of it; repeatable",
)
@click.option(
    "--reason", "only_reasons", multiple=True, help="only waits for this, such as 'chan receive'; repeatable"
)
def command(
    request: Request, summed: bool, only_states: tuple[str, ...], only_reasons: tuple[str, ...]
) -> None:
    """Show what goroutines do: each change of state, with the wait reason, who ended it, and how long it lasted.

    \b
    Examples:
      undergo states -p 4711 --summary --duration 10s          where goroutines spend their time
      undergo states -p 4711 --goid 17                         the life of one goroutine
      undergo states -p 4711 --state waiting --reason sleep    one kind of wait
      undergo states --json -- ./server -port 8080

    The states are the runtime's own, so a goroutine whose thread the kernel took off the CPU is still running,
    and a system call is one that the runtime was told of. `latency` and `trace` know better.
    """
    style = palette(request.color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets, plans = watched(stack, request)
        if request.dry_run:
            click.echo("\n".join(dry_run_lines(plans, style)), color=True)
            return
        slots = slots_of(targets.executables)
        wanted = Wanted(
            states=True,
            aggregate=summed,
            pids=tuple(targets.pids),
            goids=request.goids,
            goroutines=request.max_goroutines,
            only_states=sum(1 << NUMBERS[state] for state in only_states),
            only_waits=sum(1 << slot for slot in _slots_named(slots, only_reasons)),
        )
        stopper, out = Stopper(), sys.stdout.buffer
        with session(targets, plans, wanted) as running:
            announce(targets, plans, request.as_json, style)
            record = running.dtype("state_record")
            decoder = StateDecoder(epoch_offset(), slots.names, record, Sources(targets.executables, plans))
            longest = Longests(slots.names, record)
            if not request.as_json and not summed:
                jsonlines.write_batch(out, header(style) + "\n")

            def show(records: npt.NDArray[np.void]) -> bool:
                if summed:
                    longest.feed(records)
                elif len(records):
                    jsonlines.write_batch(out, _text(decoder.feed(records)))
                return True

            def _text(rows: list[StateChange | Birth]) -> str:
                if request.as_json:
                    return "".join(
                        jsonlines.birth(row) if isinstance(row, Birth) else jsonlines.state(row)
                        for row in rows
                    )
                return "".join(line(row, style) + "\n" for row in rows)

            follow(running, targets, stopper, request.duration, lambda: show(running.read()))
            ending = end(running, targets)
            show(running.read())
            if summed:
                longest.left(running.states(), ending.at)
                rows, born = stays(latencies(running.latencies(), ()), slots.names)
                best = {state: longest.of(state) for state in SUMMED}
                if request.as_json:
                    text = "".join(
                        jsonlines.stays(r, () if r.reason else best.get(r.state, ())) for r in rows
                    )
                    text += jsonlines.goroutines(born, longest.deaths)
                else:
                    lines = summary(rows, best, born, longest.deaths, style)
                    text = "".join(each + "\n" for each in lines)
                jsonlines.write_batch(out, text)
            row = account(running, ending, aggregated=summed)
        say_ledger(row, request.as_json, style)
        leave(targets, stack)


def _slots_named(slots: WaitSlots, names: Sequence[str]) -> set[int]:
    found = set()
    for name in names:
        if name not in slots.names:
            raise UsageError(f"there is no wait reason {name!r}", f"one of: {', '.join(slots.names)}")
        found.add(slots.names.index(name))
    return found
