"""`undergo config`: a file for -c, with the functions of an executable and their addresses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import click

from undergo.cli.options import pattern_option
from undergo.cli.targets import open_targets
from undergo.errors import PermissionDeniedError, UsageError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.functions import without_type_arguments
from undergo.plan.addresses import returns
from undergo.plan.planner import make_plan
from undergo.plan.probe_plan import FunctionPlan, ProbePlan
from undergo.target.config import Binary, Config, Symbol, parse_config
from undergo.target.config_entry import Entry, WrittenSymbol, of_path, with_entry

_SHOWN = 10  # changes that are said one by one


@click.command("config")
@click.option("-e", "--executable", required=True, help="the executable whose functions are written down")
@pattern_option
@click.option(
    "-o",
    "--output",
    default="undergo.yaml",
    show_default=True,
    metavar="FILE",
    help="where to; a file that is there keeps all but the entry of this executable; - is stdout",
)
def command(executable: str, patterns: tuple[str, ...], output: str) -> None:
    """Write a file for -c: executables, their builds, the functions you name and their addresses.

    Run it again after a build: it brings the addresses up to date and says what changed.

    \b
    Examples:
      undergo config -e ./server -f @handlers          writes undergo.yaml
      undergo config -e ./worker -f 'main.*'           adds another program to it
      undergo config -e ./server                       the same functions in a new build
      undergo latency -c undergo.yaml --duration 10s
    """
    with ExitStack() as stack:
        (opened,) = open_targets(stack, (), executable, ()).executables
        text = "" if output == "-" else _read(output)
        old = parse_config(text, output)
        path = os.path.abspath(executable)
        index = of_path(old, path)
        before = old.binaries[index] if index is not None else None
        plan = _plan(opened, patterns, before, old)
        entry = Entry(path, opened.build_id, opened.build.go_version, tuple(_symbols(plan, before, old)))
        text = with_entry(text, output, entry)
        if output == "-":
            sys.stdout.write(text)
        else:
            _write(output, text)
        for line in _said(output, executable, before, entry, plan):
            print(line, file=sys.stderr)


def _plan(
    executable: GoExecutable, patterns: tuple[str, ...], before: Binary | None, old: Config
) -> ProbePlan:
    if not patterns and before is None:
        raise UsageError(
            "name the functions to write down with -f", "-f 'main.*', -f '/regex/' or -f @module"
        )
    if not patterns and before is not None:
        names = [name for name in _named(before) if executable.functions.rows_named(name)]
        patterns = (*names, *(given.value for given in before.functions))
        if not patterns:
            raise UsageError(
                f"none of its functions is in {executable.display} any more", "name others with -f"
            )
    plan = make_plan(executable, 0, 0, patterns, sets=old.sets, max_probes=1 << 30)
    if not plan.functions:
        raise UsageError(
            f"nothing to write down: {plan.issues[0].func} is {plan.issues[0].message}",
            "`undergo list` shows why; name the functions that call it",
        )
    return plan


def _named(binary: Binary) -> dict[str, Symbol]:
    """Its symbols by the names that the function table has."""
    return {without_type_arguments(symbol.name.value): symbol for symbol in binary.symbols}


def _symbols(plan: ProbePlan, before: Binary | None, old: Config) -> Iterator[WrittenSymbol]:
    """The functions with their ids of before, or new ones; instances of one generic function are one."""
    given = {name: s.fun_id.value for name, s in _named(before).items() if s.fun_id} if before else {}
    used = [s.fun_id.value for binary in old.binaries for s in binary.symbols if s.fun_id]
    following = max(used, default=0) + 1
    instances: dict[str, list[FunctionPlan]] = {}
    for planned in plan.functions:
        instances.setdefault(planned.function.name, []).append(planned)
    for name, (first, *more) in instances.items():
        if name not in given:
            given[name], following = following, following + 1
        if more:
            yield WrittenSymbol(name, given[name], None, ())  # each has addresses of its own
        else:
            yield WrittenSymbol(name, given[name], first.function.entry, returns(first))


def _said(
    output: str, executable: str, before: Binary | None, entry: Entry, plan: ProbePlan
) -> Iterator[str]:
    """What was written, and what changed."""
    where = "stdout" if output == "-" else output
    number = len(entry.symbols)
    yield f"{where}: {number:,} function{'' if number == 1 else 's'} of {executable}"
    if before is not None:
        changes = [*_changes(before, {symbol.name: symbol for symbol in entry.symbols})]
        yield from changes[:_SHOWN]
        if len(changes) > _SHOWN:
            yield f"  and {len(changes) - _SHOWN:,} more changes"
        if before.build_id is not None and before.build_id.value != entry.build_id:
            yield f"  build {before.build_id.value} -> {entry.build_id}"
        elif not changes:
            yield "  nothing changed"
    left_out = {issue.func: issue.message for issue in plan.issues} | {s.name: "" for s in entry.symbols}
    refused = [f"  {name} is left out: {message}" for name, message in left_out.items() if message]
    yield from refused[:_SHOWN]
    if len(refused) > _SHOWN:
        yield f"  and {len(refused) - _SHOWN:,} more; `undergo list` shows all"


def _changes(before: Binary, now: Mapping[str, WrittenSymbol]) -> Iterator[str]:
    known = _named(before)
    for name, symbol in now.items():
        old = known.get(name)
        if old is None:
            yield f"  + {name}"
        elif symbol.entry is None:
            continue
        elif old.entry is not None and old.entry.value != symbol.entry:
            yield f"  ~ {name} moved from {old.entry.value:#x} to {symbol.entry:#x}"
        elif old.rets and tuple(given.value for given in old.rets) != symbol.rets:
            yield f"  ~ {name} returns elsewhere"
    for name in known:
        if name not in now:
            yield f"  - {name}"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:  # line ends stay as they are
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', 'not a text in UTF-8')}") from None


def _write(path: str, text: str) -> None:
    """At once: whoever reads it sees the old file or the new one."""
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "x", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(beside, path)
    except PermissionError:
        raise PermissionDeniedError(
            f"{path}: this user may not write it", "name another file with -o"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name another file with -o") from None
