"""`undergo graph`: recorded calls merged into one call graph."""

from __future__ import annotations

import os
import shutil
import sys

import click

from undergo.analysis.graph import graph
from undergo.analysis.selection import selected
from undergo.cli.options import output_options
from undergo.cli.recordings import (
    functions_option,
    opened,
    recordings_argument,
    say_caveats,
    say_recorded_ledger,
)
from undergo.views import jsonlines
from undergo.views.graph import graph_lines
from undergo.views.style import palette

_MIN_SHARE = 0.5
_LEVELS, _MOST_LEVELS = 40, 500  # for people, and for programs: a path has the names of all its callers


@click.command("graph")
@recordings_argument
@functions_option
@click.option(
    "--depth",
    type=click.IntRange(1),
    help=f"only this many levels  [default: {_LEVELS}; with --json {_MOST_LEVELS}]",
)
@click.option(
    "--min-share",
    type=click.FloatRange(0, 100),
    help=f"leave out what took less than this percentage of all  [default: {_MIN_SHARE}; with --json 0]",
)
@output_options
def command(
    paths: tuple[str, ...],
    patterns: tuple[str, ...],
    depth: int | None,
    min_share: float | None,
    as_json: bool,
    color: str,
) -> None:
    """Merge recorded calls by how they came about: who called whom, how often, and where the time went.

    \b
    Examples:
      undergo graph run.undergo
      undergo graph run.undergo -f 'main.(*shop).reserve'   only what it does, whoever called it
      undergo graph run.undergo --depth 3 --min-share 5     only the thick branches
      undergo graph monday.undergo tuesday.undergo --json

    SELF is the time that is in no other recorded function called from there.
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    if depth is None:
        depth = _MOST_LEVELS if as_json else _LEVELS
    if min_share is None:
        min_share = 0 if as_json else _MIN_SHARE
    with opened(paths) as recordings:
        found = graph(recordings, selected(recordings, patterns), depth, min_share / 100)
        if as_json:
            text = "".join(map(jsonlines.path, found.rows))
        else:
            lines = graph_lines(found, style, shutil.get_terminal_size((120, 40)).columns)
            text = "".join(line + "\n" for line in lines)
        jsonlines.write_batch(sys.stdout.buffer, text)
        say_caveats(recordings, as_json, style)
        say_recorded_ledger(recordings, as_json, style)
