"""From --args, --results and the debug information of the targets to what is captured, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import click

from undergo.cli.options import chain
from undergo.cli.targets import Targets
from undergo.errors import TruncatedError
from undergo.events.values import Names
from undergo.goexe.dwarf import Dwarf
from undergo.goexe.executable import GoExecutable
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.types import TypeTable
from undergo.plan.capture import MOST, FunctionCapture, Limits, capture_of
from undergo.plan.probe_plan import CookieFlag, FunctionPlan, Issue, ProbePlan
from undergo.views.call_values import CallValues

capture_options = chain(
    click.option("--args", "with_args", is_flag=True, help="show what calls are given"),
    click.option("--results", "with_results", is_flag=True, help="show what calls give back"),
    click.option(
        "--string-limit",
        type=click.IntRange(1, MOST),
        default=64,
        show_default=True,
        help="bytes of a string or []byte that are read",
    ),
    click.option(
        "--depth-limit",
        type=click.IntRange(0, 8),
        default=2,
        show_default=True,
        help="pointers that are followed one after the other",
    ),
    click.option(
        "--elements",
        type=click.IntRange(0, 64),
        default=3,
        show_default=True,
        help="elements of a slice or array that are read",
    ),
)


@dataclass(frozen=True, slots=True)
class Captures:
    """What is captured of each function, by FunctionPlan.id, and what it takes to understand it."""

    functions: dict[int, tuple[FunctionCapture, TypeTable, Names]]

    @property
    def plans(self) -> dict[int, FunctionCapture]:
        """For the kernel side."""
        return {function: capture for function, (capture, _, _) in self.functions.items()}

    def values(self) -> CallValues:
        """For the views."""
        return CallValues(
            {function: types for function, (_, types, _) in self.functions.items()},
            frozenset(f for f, (capture, _, _) in self.functions.items() if capture.entry),
            frozenset(f for f, (capture, _, _) in self.functions.items() if capture.exit),
        )


def capture_all(
    targets: Targets, plans: Sequence[ProbePlan], limits: Limits, *, args: bool, results: bool
) -> tuple[Captures, list[ProbePlan]]:
    """The captures of all planned functions, and the plans with what there is to say about them."""
    found: dict[int, tuple[FunctionCapture, TypeTable, Names]] = {}
    if not (args or results):
        return Captures(found), list(plans)
    told = []
    for executable, plan in zip(targets.executables, plans, strict=True):
        issues = [*_of_executable(executable, plan, limits, args, results, found)]
        told.append(replace(plan, issues=(*plan.issues, *issues)))
    return Captures(found), told


def _of_executable(
    executable: GoExecutable,
    plan: ProbePlan,
    limits: Limits,
    args: bool,
    results: bool,
    found: dict[int, tuple[FunctionCapture, TypeTable, Names]],
) -> list[Issue]:
    if executable.dwarf_version is None:
        why = "no debug information: what calls are given and give back is not known"
        return [Issue(executable.display, "no debug information", why)]
    dwarf, names, issues = Dwarf(executable.elf), names_of(executable), []
    for function in plan.functions:
        try:
            capture = _of_function(executable, dwarf, function, limits, args, results)
        except TruncatedError as error:
            issues.append(Issue(function.function.name, "no arguments", error.message))
            continue
        if capture is None:
            why = "the debug information does not describe its parameters"
            issues.append(Issue(function.function.name, "no arguments", why))
            continue
        found[function.id] = capture, dwarf.types, names
        left_out = sum(each.left_out for each in (capture.entry, capture.exit) if each)
        if left_out:
            why = f"{left_out} parts of its arguments or results are too many for one event and left out"
            issues.append(Issue(function.function.name, "too large", why))
    return issues


def _of_function(
    executable: GoExecutable,
    dwarf: Dwarf,
    function: FunctionPlan,
    limits: Limits,
    args: bool,
    results: bool,
) -> FunctionCapture | None:
    name = executable.functions.full_name(function.function.index)
    signature = dwarf.signature(name, function.function.entry)
    if signature is None:
        return None
    whole = not function.entry.flags & CookieFlag.BARE_RET  # else its entry is all there is of it
    return capture_of(signature, dwarf.types, limits, args=args, results=results and whole)


def names_of(executable: GoExecutable) -> Names:
    """What addresses of an executable mean."""
    types = RuntimeTypes(executable)

    def function_at(address: int) -> str:
        found = executable.functions.find(address)
        return found.name if found is not None else ""

    return Names(types.name, function_at)
