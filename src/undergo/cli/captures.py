"""From --args, --results and the debug information of the targets to what is captured, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import click

from undergo.cli.options import chain
from undergo.cli.targets import Targets
from undergo.errors import TruncatedError, UsageError
from undergo.events.values import Runtime
from undergo.goexe.dwarf import Dwarf
from undergo.goexe.executable import GoExecutable
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.types import Signature, TypeTable
from undergo.kernel.session import MAX_KEYS, Session
from undergo.plan.capture import MOST, FunctionCapture, Limits, capture_of, dynamic_capture
from undergo.plan.filter_expression import parse, parse_path
from undergo.plan.filters import FunctionFilter, Key, filter_of, key_of
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


_OF_ONE_INTERFACE = 500  # types that implement it and are known from the start


filter_option = click.option(
    "--filter",
    "filter_text",
    metavar="EXPR",
    help="only calls of which this is true, tested in the kernel: 'n > 10 && err != nil'",
)


def filter_all(targets: Targets, plans: Sequence[ProbePlan], text: str | None) -> dict[int, FunctionFilter]:
    """The filters of all planned functions. Raises UsageError, with a caret under what is wrong."""
    if text is None:
        return {}
    expression = parse(text)
    return {
        function: filter_of(expression, text, signature, types, name)
        for function, signature, types, name in _signatures(targets, plans, "--filter")
    }


by_options = chain(
    click.option(
        "--by", "by_text", metavar="PATH", help="a row for each value of this argument: req.URL.Path"
    ),
    click.option(
        "--max-keys",
        type=click.IntRange(1, MAX_KEYS),
        default=50,
        show_default=True,
        help="values of --by; calls with others are summed up in one row",
    ),
)


def key_all(targets: Targets, plans: Sequence[ProbePlan], text: str | None) -> dict[int, Key]:
    """What the rows of all planned functions are told apart by. Raises UsageError, with a caret."""
    if text is None:
        return {}
    path = parse_path(text)
    return {
        function: key_of(path, text, signature, types, name)
        for function, signature, types, name in _signatures(targets, plans, "--by")
    }


def _signatures(
    targets: Targets, plans: Sequence[ProbePlan], option: str
) -> Iterator[tuple[int, Signature, TypeTable, str]]:
    """FunctionPlan.id, signature and name of every planned function, which must have one."""
    for executable, plan in zip(targets.executables, plans, strict=True):
        if plan.functions and executable.dwarf_version is None:
            raise UsageError(
                f"{option}: {executable.display} has no debug information to tell its parameters by",
                "build it without -ldflags=-w",
            )
        dwarf = Dwarf(executable.elf)
        for function in plan.functions:
            name = executable.functions.full_name(function.function.index)
            signature = dwarf.signature(name, function.function.entry)
            if signature is None:
                raise UsageError(
                    f"{option}: the debug information does not describe {name}",
                    "name other functions with -f",
                )
            yield function.id, signature, dwarf.types, name


@dataclass(frozen=True, slots=True)
class Captures:
    """What is captured of each function, by FunctionPlan.id, and what it takes to understand it."""

    functions: dict[int, tuple[FunctionCapture, TypeTable, Runtime]]
    runtimes: dict[int, Runtime]  # by index of the executable
    limits: Limits

    @property
    def plans(self) -> dict[int, FunctionCapture]:
        """For the kernel side."""
        return {function: capture for function, (capture, _, _) in self.functions.items()}

    def learn_first(self, running: Session) -> None:
        """Lets interfaces be looked into that hold what the linker knew they might."""
        for index, runtime in self.runtimes.items():
            offsets: set[int] = set()
            for capture, _, own in self.functions.values():
                if own is runtime:
                    each = (capture.entry, capture.exit)
                    offsets |= {offset for one in each if one for offset in one.interfaces if offset}
            for offset in offsets:
                found = runtime.types.implementing(runtime.types.start + offset)
                self._learn(running, index, found[:_OF_ONE_INTERFACE])
            # what signatures name is what `any` will often hold
            named = {id(types): types for _, types, own in self.functions.values() if own is runtime}
            offsets = {of.runtime_type for types in named.values() for of in types.known() if of.runtime_type}
            start = runtime.types.start
            self._learn(running, index, [start + offset for offset in sorted(offsets)][:_OF_ONE_INTERFACE])

    def learn(self, running: Session) -> None:
        """The same for types that were met since."""
        for index, runtime in self.runtimes.items():
            met = list(runtime.unknown)
            runtime.unknown.clear()
            self._learn(running, index, met)

    def _learn(self, running: Session, index: int, addresses: Iterable[int]) -> None:
        runtime = self.runtimes[index]
        for address in addresses:
            if address in runtime.dynamic or address in runtime.refused:
                continue
            try:
                capture = dynamic_capture(runtime.types[address], runtime.types, self.limits)
            except TruncatedError:
                runtime.refused.add(address)  # made while the program ran: the file does not describe it
                continue
            if running.add_dynamic(index, address, capture):
                runtime.dynamic[address] = capture

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
    found: dict[int, tuple[FunctionCapture, TypeTable, Runtime]] = {}
    if not (args or results):
        return Captures(found, {}, limits), list(plans)
    told = []
    runtimes = {index: runtime_of(executable) for index, executable in enumerate(targets.executables)}
    for index, (executable, plan) in enumerate(zip(targets.executables, plans, strict=True)):
        issues = _of_executable(executable, plan, runtimes[index], limits, args, results, found)
        told.append(replace(plan, issues=(*plan.issues, *issues)))
    return Captures(found, runtimes, limits), told


def _of_executable(
    executable: GoExecutable,
    plan: ProbePlan,
    runtime: Runtime,
    limits: Limits,
    args: bool,
    results: bool,
    found: dict[int, tuple[FunctionCapture, TypeTable, Runtime]],
) -> list[Issue]:
    if executable.dwarf_version is None:
        why = "no debug information: what calls are given and give back is not known"
        return [Issue(executable.display, "no debug information", why)]
    dwarf, issues = Dwarf(executable.elf), []
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
        found[function.id] = capture, dwarf.types, runtime
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


def runtime_of(executable: GoExecutable) -> Runtime:
    """What addresses of an executable mean."""

    def function_at(address: int) -> str:
        found = executable.functions.find(address)
        return found.name if found is not None else ""

    return Runtime(RuntimeTypes(executable), function_at)
