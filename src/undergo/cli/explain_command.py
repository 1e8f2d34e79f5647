"""`undergo explain`: the story of one recorded call."""

from __future__ import annotations

import os
import sys

import click

from undergo.analysis.selection import selected
from undergo.analysis.story import story
from undergo.analysis.trees import call_of, captures, having_captures, slowest
from undergo.cli.options import output_options
from undergo.cli.recordings import (
    functions_option,
    opened,
    recordings_argument,
    say_caveats,
    say_recorded_ledger,
)
from undergo.errors import UsageError
from undergo.views import jsonlines
from undergo.views.recorded_values import RecordedValues
from undergo.views.story import story_lines
from undergo.views.style import palette


@click.command("explain")
@recordings_argument
@click.option("--call", "id", type=click.IntRange(1), metavar="ID", help="this call")
@click.option(
    "--slowest", "slow", type=click.IntRange(1), metavar="N", help="the N slowest calls  [default: 1]"
)
@functions_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="calls beneath it, and waits, that are told: the longest",
)
@output_options
def command(
    paths: tuple[str, ...],
    id: int | None,
    slow: int | None,
    patterns: tuple[str, ...],
    limit: int,
    as_json: bool,
    color: str,
) -> None:
    """Tell the story of one call: what it called, what it waited for, and what they did who ended its waits.

    \b
    Examples:
      undergo explain run.undergo                            the slowest call of all
      undergo explain run.undergo --slowest 3 -f main.handle
      undergo explain run.undergo --call 3274258             `report --slowest` shows ids, and so does `sql`

    Which goroutine ended a wait is in recordings made with --states.
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    if id is not None and (slow or patterns):
        raise UsageError("--call names one call", "leave out --slowest and -f")
    with opened(paths) as recordings:
        if id is not None:
            found = call_of(recordings, id)
            if found is None:
                hint = "`undergo report --slowest 5` shows ids; of several recordings together they differ"
                raise UsageError(f"no call {id} was recorded", hint)
            roots = [found]
        else:
            roots = slowest(recordings, slow or 1, selected(recordings, patterns))
        stories = [story(recordings, root, limit) for root in roots]
        trees = [one.tree for one in stories]
        values = RecordedValues(captures(recordings, trees), having_captures(recordings))
        if as_json:
            calls = jsonlines.CallLines(recordings.labels, values)
            text = "".join(
                calls.batch([one.tree.root.call, *one.tree.beneath])
                + "".join(jsonlines.stay(one.tree.root.call, stay) for stay in one.stays or ())
                for one in stories
            )
        else:
            told = [
                "".join(f"{line}\n" for line in story_lines(one, recordings.labels, values, style))
                for one in stories
            ]
            text = "\n".join(told) or style.paint(style.dim, "no calls") + "\n"
        jsonlines.write_batch(sys.stdout.buffer, text)
        say_caveats(recordings, as_json, style)
        say_recorded_ledger(recordings, as_json, style)
