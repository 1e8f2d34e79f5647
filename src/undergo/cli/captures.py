"""From --args, --results and the debug information of the targets to what is captured, and how it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import click

from undergo.cli.described import Described
from undergo.cli.options import chain
from undergo.cli.targets import Targets
from undergo.errors import TruncatedError, UsageError
from undergo.events.values import CaptureDecoder, Runtime
from undergo.goexe.executable import GoExecutable
from undergo.goexe.stacks import Stacks
from undergo.goexe.types import Types, TypeTable
from undergo.kernel.session import Session
from undergo.plan.capture import (
    Asked,
    Capture,
    FunctionCapture,
    Limits,
    capture_of,
    dynamic_capture,
    registers,
)
from undergo.plan.filter_expression import parse_path
from undergo.plan.ops import MOST
from undergo.plan.paths import Subject, find_path
from undergo.plan.probe_plan import CookieFlag, Issue, ProbePlan
from undergo.views.call_values import CallValues
from undergo.views.style import escape

_options = chain(
    click.option("--args", "with_args", is_flag=True, help="show what calls are given"),
    click.option("--results", "with_results", is_flag=True, help="show what calls give back"),
    click.option(
        "--show",
        "paths",
        multiple=True,
        metavar="PATH",
        help="show one argument or result, or a part of one: req.Header; repeatable",
    ),
    click.option("--labels", "with_labels", is_flag=True, help="show the profiler's labels of goroutines"),
    click.option(
        "--stacks", "with_stacks", is_flag=True, help="show who called the calls, inlined functions included"
    ),
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


@dataclass(frozen=True, slots=True)
class Capturing:
    """What is to be read of calls, and how much of it."""

    asked: Asked
    limits: Limits
    regs: bool


def capture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that reads arguments and results, given to it as `capturing`."""

    @wraps(command)
    def gather(*given: Any, **values: Any) -> Any:
        take = values.pop
        asked = Asked(*map(take, ("with_args", "with_results", "with_labels", "with_stacks", "paths")))
        limits = Limits(*map(take, ("string_limit", "depth_limit", "elements")))
        return command(*given, capturing=Capturing(asked, limits, take("regs")), **values)

    return _options(gather)


_OF_ONE_INTERFACE = 500  # types that implement it and are known from the start


@dataclass(frozen=True, slots=True)
class Captures:
    """What is captured of each function, by FunctionPlan.id, and what it takes to understand it."""

    functions: dict[int, tuple[FunctionCapture, Types, Runtime]]
    runtimes: dict[int, Runtime]  # by index of the executable
    limits: Limits
    asked: Asked

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

    def values(self, running: Session) -> CallValues:
        """For the views."""
        asked = self.asked
        return CallValues(
            CaptureDecoder(self.functions, running.dtype("capture_record")),
            {function: types for function, (_, types, _) in self.functions.items()},
            frozenset(
                f for f, (capture, _, _) in self.functions.items() if _shows(capture.entry, asked.args)
            ),
            frozenset(
                f for f, (capture, _, _) in self.functions.items() if _shows(capture.exit, asked.results)
            ),
            labels=asked.labels,
            stacks=asked.stacks,
        )


def _shows(capture: Capture | None, all_of_them: bool) -> bool:
    """Whether values are shown, though there may be none; labels alone are no values."""
    return capture is not None and (all_of_them or bool(capture.readings))


def capture_all(
    targets: Targets,
    plans: Sequence[ProbePlan],
    described: Sequence[Described],
    capturing: Capturing,
) -> tuple[Captures, list[ProbePlan]]:
    """The captures of all planned functions, and the plans with what there is to say about them.

    Raises UsageError, with a caret, for a path that no function has.
    """
    asked, limits, regs = capturing.asked, capturing.limits, capturing.regs
    found: dict[int, tuple[FunctionCapture, Types, Runtime]] = {}
    if asked == Asked():
        return Captures(found, {}, limits, asked), list(plans)
    described_values = asked.args or asked.results or asked.paths
    paths = _Paths()
    told = []
    pairs = zip(targets.executables, described, strict=True)
    runtimes = {index: runtime_of(*pair) for index, pair in enumerate(pairs)}
    for index, (executable, plan) in enumerate(zip(targets.executables, plans, strict=True)):
        issues: list[Issue] = []
        if not described[index].complete and not regs and described_values:
            why = "no debug information: what calls are given is not known; say it with --sig, or use --regs"
            issues.append(Issue(executable.display, "no debug information", why))
        for function in plan.functions:
            whole = not function.entry.flags & CookieFlag.BARE_RET  # else its entry is all there is of it
            own = asked if whole else replace(asked, results=False)
            try:
                known = described[index].of(function)
            except TruncatedError as error:
                issues.append(Issue(function.function.name, "no arguments", error.message))
                known = None
            else:
                if known is None and described[index].complete and not regs and described_values:
                    why = "the debug information does not describe its parameters; --sig can"
                    issues.append(Issue(function.function.name, "no arguments", why))
            if known is None and regs:
                found[function.id] = (*registers(own), runtimes[index])
                continue
            if known is None:
                if not (asked.labels or asked.stacks):
                    continue
                known, own = (
                    described[index].bare(function),
                    Asked(labels=asked.labels, stacks=asked.stacks),
                )
            capture = capture_of(known, limits, replace(own, paths=paths.of(known, own.paths)))
            found[function.id] = capture, known.types, runtimes[index]
            left_out: Counter[str] = Counter()
            for each in (capture.entry, capture.exit):
                left_out.update(each.left_out if each else {})
            if left_out:
                parts = ", ".join(
                    f"{count} of {escape(name) or 'others'}" for name, count in left_out.most_common(5)
                )
                why = f"parts of its arguments or results are too many for one event and left out: {parts}"
                issues.append(Issue(function.function.name, "too large", why))
        told.append(replace(plan, issues=(*plan.issues, *issues)))
    paths.check()
    return Captures(found, runtimes, limits, asked), told


class _Paths:
    """Which of --show each function has; one that none has is wrong."""

    def __init__(self) -> None:
        self._had: set[str] = set()
        self._wrong: dict[str, UsageError] = {}

    def of(self, subject: Subject, paths: Sequence[str]) -> tuple[str, ...]:
        """Those that a function has. Raises UsageError for what is no path at all."""
        found = []
        for text in paths:
            path = parse_path(text, "--show")
            try:
                find_path(subject, path, text)
            except UsageError as error:
                self._wrong.setdefault(text, error)
                continue
            found.append(text)
        self._had.update(found)
        return tuple(found)

    def check(self) -> None:
        """Raises UsageError."""
        for text, error in self._wrong.items():
            if text not in self._had:
                raise error


def runtime_of(executable: GoExecutable, described: Described) -> Runtime:
    """What addresses of an executable mean."""

    def function_at(address: int) -> str:
        found = executable.functions.find(address)
        return found.name if found is not None else ""

    return Runtime(described.runtime_types, described.maps, function_at, Stacks(executable).of)
