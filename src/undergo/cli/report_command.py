"""`undergo report`: how long recorded calls took, exactly, and where that time went."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence

import click

from undergo.analysis.latencies import Latencies, latencies
from undergo.analysis.queries import parse_by
from undergo.analysis.selection import selected
from undergo.analysis.trees import Tree, as_records, captures, having_captures, slowest, tree, with_waits
from undergo.cli.options import output_options
from undergo.cli.recordings import (
    functions_option,
    opened,
    recordings_argument,
    say_caveats,
    say_recorded_ledger,
)
from undergo.errors import UsageError
from undergo.recording.reader import Recordings
from undergo.views import jsonlines
from undergo.views.histogram import histogram
from undergo.views.latency import SORT_KEYS, latency_table
from undergo.views.recorded_values import RecordedValues
from undergo.views.style import Palette, palette
from undergo.views.tree import CallTree

_ROWS = 50  # without --limit, for people
_BENEATH = 200  # calls of one tree that are shown


@click.command("report")
@recordings_argument
@functions_option
@click.option(
    "--by",
    "by_text",
    default="func",
    show_default=True,
    metavar="WHAT",
    help="a row per function and: func (nothing more), goroutine, process, wait (reason), callpath, arg:NAME,"
    " result:NAME, label:NAME",
)
@click.option(
    "--sort", type=click.Choice(list(SORT_KEYS)), default="sum", show_default=True, help="order of the rows"
)
@click.option(
    "--limit", type=click.IntRange(1), help=f"so many rows at most  [default: {_ROWS}; with --json all]"
)
@click.option("--histogram", "with_histogram", is_flag=True, help="a histogram per row below the table")
@click.option("--slowest", "slow", type=click.IntRange(1), metavar="N", help="the N slowest calls, as trees")
@click.option(
    "--compare",
    "after",
    multiple=True,
    metavar="RECORDING",
    help="what changed from RECORDING... to this one, beyond noise; repeatable",
)
@output_options
def command(
    paths: tuple[str, ...],
    patterns: tuple[str, ...],
    by_text: str,
    sort: str,
    limit: int | None,
    with_histogram: bool,
    slow: int | None,
    after: tuple[str, ...],
    as_json: bool,
    color: str,
) -> None:
    """Show how long recorded calls took, with exact percentiles, and where that time went.

    \b
    Examples:
      undergo report run.undergo                             as `latency` shows it
      undergo report run.undergo --sort p99 --limit 10
      undergo report run.undergo --by wait                   what was waited for, and how long
      undergo report run.undergo -f main.handle --by arg:path
      undergo report run.undergo --slowest 3                 the worst calls, with all beneath them
      undergo report before.undergo --compare after.undergo  what became slower, and is it more than noise
      undergo report monday.undergo tuesday.undergo --json   several as one
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    by = parse_by(by_text)
    if after:
        if by.kind != "func" or slow or with_histogram or sort != "sum":
            raise UsageError(
                "--compare goes by function, what changed most first",
                "leave out --by, --sort, --slowest and --histogram",
            )
        from undergo.cli.compare import compare  # its statistics are of no use otherwise

        compare(paths, after, patterns, limit, as_json, style)
        return
    with opened(paths) as recordings:
        functions = selected(recordings, patterns)
        if limit is None and not as_json:
            limit = _ROWS
        if slow is not None:
            _show_slowest(recordings, functions, slow, as_json, style)
        else:
            found = latencies(recordings, by, functions, sort, limit, histograms=with_histogram or as_json)
            _show(recordings, found, sort, with_histogram, as_json, style)
        say_caveats(recordings, as_json, style)
        say_recorded_ledger(recordings, as_json, style)


def _show(
    recordings: Recordings, found: Latencies, sort: str, with_histogram: bool, as_json: bool, style: Palette
) -> None:
    if as_json:
        text = "".join(
            jsonlines.latency(
                row,
                recordings.labels[func],
                (str(found.by), found.values[row.func]) if found.values else None,
            )
            for row, func in zip(found.rows, found.funcs, strict=True)
        )
    else:
        text = "".join(line + "\n" for line in _table(found, sort, with_histogram, style))
    jsonlines.write_batch(sys.stdout.buffer, text)


def _table(found: Latencies, sort: str, with_histogram: bool, style: Palette) -> list[str]:
    width = shutil.get_terminal_size((120, 40)).columns
    lines = []
    if found.by.kind == "wait":
        lines.append(style.paint(style.dim, "how long a call waited, by reason"))
    lines += latency_table(found.rows, found.labels, style, width, sort, exact=True)
    if found.left_out:
        plural = "s" if found.left_out > 1 else ""
        lines.append(style.paint(style.dim, f"{found.left_out:,} more row{plural}; --limit shows more"))
    if with_histogram:
        for row in found.rows:
            lines += ["", *histogram(row, found.labels[row.func], style, width)]
    return lines


def _show_slowest(
    recordings: Recordings, functions: Sequence[int] | None, count: int, as_json: bool, style: Palette
) -> None:
    trees = with_waits(
        recordings, [tree(recordings, root, _BENEATH) for root in slowest(recordings, count, functions)]
    )
    values = RecordedValues(captures(recordings, trees), having_captures(recordings))
    if as_json:
        lines = jsonlines.CallLines(recordings.labels, values)
        text = "".join(lines.batch([one.root.call, *one.beneath]) for one in trees)
    else:
        several = len({call.pid for one in trees for call in (one.root.call,)}) > 1
        shown = [_tree(one, recordings.labels, values, several, style) for one in trees]
        text = "\n".join("".join(line + "\n" for line in lines) for lines in shown)
        text = text or "no calls\n"
    jsonlines.write_batch(sys.stdout.buffer, text)


def _tree(
    one: Tree, names: Sequence[str], values: RecordedValues, several: bool, style: Palette
) -> list[str]:
    call = one.root.call
    began = time.strftime("%F %T", time.localtime(call.start_ts_ns // 10**9))
    title = f"call {call.id}, {began}.{call.start_ts_ns // 1000 % 10**6:06d}"
    view = CallTree(names, style, several, values)
    lines = [*view.feed(as_records(one), 0), *view.finish()]
    if one.left_out:
        lines.append(style.paint(style.dim, f"{one.left_out:,} shorter calls beneath it are not shown"))
    return [style.paint(style.strong, title), *lines]
