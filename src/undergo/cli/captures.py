"""From --args, --results and the debug information of the targets to what is captured, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import click

from undergo.cli.described import Described
from undergo.cli.options import chain
from undergo.cli.targets import Targets
from undergo.errors import TruncatedError
from undergo.events.values import Runtime
from undergo.goexe.executable import GoExecutable
from undergo.goexe.maps import map_layout
from undergo.goexe.types import Types, TypeTable
from undergo.kernel.session import Session
from undergo.plan.capture import MOST, FunctionCapture, Limits, capture_of, dynamic_capture, registers
from undergo.plan.probe_plan import CookieFlag, Issue, ProbePlan
from undergo.views.call_values import CallValues

capture_options = chain(
    click.option("--args", "with_args", is_flag=True, help="show what calls are given"),
    click.option("--results", "with_results", is_flag=True, help="show what calls give back"),
    click.option("--regs", is_flag=True, help="the registers of functions of which nothing else is known"),
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
        help="elements of a slice, array or map that are read",
    ),
)


_OF_ONE_INTERFACE = 500  # types that implement it and are known from the start


@dataclass(frozen=True, slots=True)
class Captures:
    """What is captured of each function, by FunctionPlan.id, and what it takes to understand it."""

    functions: dict[int, tuple[FunctionCapture, Types, Runtime]]
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
            named = {
                id(types): types
                for _, types, own in self.functions.values()
                if own is runtime and isinstance(types, TypeTable)
            }
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
                capture = dynamic_capture(runtime.types[address], runtime.types, self.limits, runtime.maps)
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
    targets: Targets,
    plans: Sequence[ProbePlan],
    described: Sequence[Described],
    limits: Limits,
    *,
    args: bool,
    results: bool,
    regs: bool = False,
) -> tuple[Captures, list[ProbePlan]]:
    """The captures of all planned functions, and the plans with what there is to say about them."""
    found: dict[int, tuple[FunctionCapture, Types, Runtime]] = {}
    if not (args or results):
        return Captures(found, {}, limits), list(plans)
    told = []
    pairs = zip(targets.executables, described, strict=True)
    runtimes = {index: runtime_of(*pair) for index, pair in enumerate(pairs)}
    for index, (executable, plan) in enumerate(zip(targets.executables, plans, strict=True)):
        issues: list[Issue] = []
        if not described[index].complete and not regs:
            why = "no debug information: what calls are given is not known; say it with --sig, or use --regs"
            issues.append(Issue(executable.display, "no debug information", why))
        for function in plan.functions:
            whole = not function.entry.flags & CookieFlag.BARE_RET  # else its entry is all there is of it
            try:
                known = described[index].of(function)
            except TruncatedError as error:
                issues.append(Issue(function.function.name, "no arguments", error.message))
                continue
            if known is None and regs:
                found[function.id] = (*registers(args=args, results=results and whole), runtimes[index])
            elif known is None and described[index].complete:
                why = "the debug information does not describe its parameters; --sig can"
                issues.append(Issue(function.function.name, "no arguments", why))
            if known is None:
                continue
            signature, types = known
            capture = capture_of(
                signature, types, limits, runtimes[index].maps, args=args, results=results and whole
            )
            found[function.id] = capture, types, runtimes[index]
            left_out = sum(each.left_out for each in (capture.entry, capture.exit) if each)
            if left_out:
                why = f"{left_out} parts of its arguments or results are too many for one event and left out"
                issues.append(Issue(function.function.name, "too large", why))
        told.append(replace(plan, issues=(*plan.issues, *issues)))
    return Captures(found, runtimes, limits), told


def runtime_of(executable: GoExecutable, described: Described) -> Runtime:
    """What addresses of an executable mean."""

    def function_at(address: int) -> str:
        found = executable.functions.find(address)
        return found.name if found is not None else ""

    build = executable.build
    return Runtime(described.runtime_types, map_layout(build.version, build.go_version), function_at)
