"""`undergo list`: functions that can be traced, and why others cannot."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace

import click

from undergo.cli.options import output_options, pattern_option, target_options
from undergo.cli.targets import Targets, open_targets, patterns_of
from undergo.goexe.function import Function
from undergo.plan.planner import make_plan
from undergo.plan.sets import NO_SETS, Sets
from undergo.target.config import Config
from undergo.views import jsonlines
from undergo.views.functions import Listed, function_lines
from undergo.views.style import palette


@click.command("list")
@target_options
@pattern_option
@output_options
def command(
    pids: tuple[int, ...],
    executable: str | None,
    config: Config | None,
    patterns: tuple[str, ...],
    as_json: bool,
    color: str,
) -> None:
    """List functions with address, source line and number of exits; and why some cannot be traced.

    \b
    Examples:
      undergo list -e ./server -f 'main.*'
      undergo list -p 4711 -f '*.(*Mutex).Lock'
      undergo list -e ./server -f @handlers                HTTP and gRPC handlers
      undergo list -e ./server -f '/[Hh]andler/' --json
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    with ExitStack() as stack:
        targets = open_targets(stack, pids, executable, (), config)
        rows = _rows(targets, patterns, config.sets if config else NO_SETS)
        if as_json:
            text = "".join(jsonlines.function(row) for row in rows)
        else:
            text = "\n".join(function_lines(rows, style)) + "\n"
        jsonlines.write_batch(sys.stdout.buffer, text)


def _rows(targets: Targets, patterns: tuple[str, ...], sets: Sets) -> list[Listed]:
    rows = []
    for index, executable in enumerate(targets.executables):
        named = patterns or (patterns_of(executable, targets.binaries[index]) if targets.binaries else ())
        plan = make_plan(executable, index, 0, named or ("*",), sets=sets, max_probes=1 << 30)
        rows += [Listed(planned.function, len(planned.exits)) for planned in plan.functions]
        traced = {
            planned.function.name: at
            for at, planned in enumerate(plan.functions, len(rows) - len(plan.functions))
        }
        for issue in plan.issues:
            if issue.func in traced:
                at = traced[issue.func]
                rows[at] = replace(rows[at], note="; ".join(filter(None, (rows[at].note, issue.message))))
                continue
            found = executable.functions.named(issue.func)
            unknown = Function(-1, issue.func, 0, 0, "", 0, 0, False, False)
            rows.append(Listed(found or unknown, None, f"{issue.message}"))
    return rows
