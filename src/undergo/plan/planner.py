"""From an executable and patterns to a ProbePlan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from undergo.errors import UsageError
from undergo.goexe.function import Function
from undergo.goexe.layout import RuntimeLayout
from undergo.plan.patterns import Pattern, compile_pattern, nothing_matches
from undergo.plan.probe_plan import FunctionPlan, Issue, ProbePlan, Role
from undergo.plan.runtime_sites import runtime_sites
from undergo.plan.sites import place
from undergo.plan.untraceable import untraceable

FRAME_ROLES: Final = frozenset({Role.RECOVERY, Role.DEATH})  # what exact calls need
CLOCK_ROLES: Final = frozenset({*FRAME_ROLES, Role.TRANSITION, Role.INLINED_TRANSITION})  # and their time

_NAMED_CALLERS: Final = 3  # of an inlined function, in a message
_DETAILED: Final = 20  # issues about inlining that name callers; looking them up costs milliseconds each


class Functions(Protocol):
    """What the planner asks of undergo.goexe's function table."""

    @property
    def names(self) -> Sequence[str]: ...
    def __getitem__(self, index: int) -> Function: ...
    def find(self, address: int) -> Function | None: ...
    def named(self, name: str) -> Function | None: ...
    def rows_named(self, name: str) -> tuple[int, ...]: ...
    def select(self, predicate: Callable[[str], object]) -> list[int]: ...
    def is_wrapper(self, index: int) -> bool: ...
    def pcsp(self, function: Function) -> list[tuple[int, int, int]]: ...


class Inlined(Protocol):
    """What the planner asks of undergo.goexe's inline index."""

    @property
    def counts(self) -> dict[str, int]: ...
    def sites(self, name: str) -> int: ...
    def callers(self, name: str) -> dict[int, int]: ...
    def only_inlined(self, predicate: Callable[[str], object]) -> dict[str, int]: ...


class Executable(Protocol):
    """What the planner asks of a GoExecutable."""

    @property
    def functions(self) -> Functions: ...
    @property
    def inlined(self) -> Inlined: ...
    @property
    def layout(self) -> RuntimeLayout: ...
    def code(self, function: Function) -> bytes: ...
    def read(self, address: int, size: int) -> bytes: ...
    def file_offset(self, address: int) -> int: ...


def make_plan(
    executable: Executable,
    index: int,
    first_id: int,
    patterns: Sequence[str],
    *,
    roles: Collection[Role] = FRAME_ROLES,
    max_probes: int,
) -> ProbePlan:
    """Plan the probes for the functions the patterns name, in the order of their addresses.

    `index` is the executable's place in the session, `first_id` the id of its first function. A function that
    cannot be traced is an issue. Raises UsageError for a pattern that is wrong or selects nothing, and for more
    than `max_probes` probes.
    """
    rows, issues = _select(executable, [compile_pattern(pattern) for pattern in patterns])
    if len(rows) > max_probes:
        raise _too_many(len(rows), f"at least {len(rows)}", max_probes)
    functions = executable.functions
    planned: list[FunctionPlan] = []
    for row in rows:
        reason = untraceable(functions.names[row])
        if reason is not None:
            issues.append(Issue(functions.names[row], "runtime", reason))
            continue
        function = functions[row]
        offset = executable.file_offset(function.entry)
        placement = place(function, executable.code(function), functions.pcsp(function), offset)
        issues += placement.issues
        if placement.entry is not None:
            planned.append(FunctionPlan(first_id + len(planned), function, placement.entry, placement.exits))
    sites, missing = runtime_sites(executable, roles)
    plan = ProbePlan(index, tuple(planned), tuple(sites), (*issues, *missing))
    if plan.probes > max_probes:
        raise _too_many(len(planned), str(plan.probes), max_probes)
    return plan


def _too_many(functions: int, probes: str, limit: int) -> UsageError:
    return UsageError(
        f"{functions} functions need {probes} probes, more than {limit}",
        "name fewer functions with -f, or raise --max-probes",
    )


def _select(executable: Executable, patterns: Sequence[Pattern]) -> tuple[list[int], list[Issue]]:
    """Rows of the function table in order, and what there is to say about inlining."""
    functions = executable.functions
    rows: set[int] = set()
    gone: dict[str, int] = {}
    for pattern in patterns:
        matched = functions.rows_named(pattern.text) if pattern.literal else functions.select(pattern.matches)
        found = _without_wrappers(functions, matched)
        inlined = _only_inlined(executable, pattern)
        if not found and not inlined:
            raise nothing_matches(pattern, functions.names, executable.inlined.counts)
        rows.update(found)
        gone.update(inlined)
    ordered = sorted(rows)
    return ordered, _inlining(executable, ordered, gone)


def _without_wrappers(functions: Functions, rows: Sequence[int]) -> Sequence[int]:
    """Without ABI wrappers and promoted methods, which only call what they wrap; unless nothing else is meant."""
    return [row for row in rows if not functions.is_wrapper(row)] or rows


def _only_inlined(executable: Executable, pattern: Pattern) -> dict[str, int]:
    inlined = executable.inlined
    if not pattern.literal:
        return inlined.only_inlined(pattern.matches)
    if executable.functions.rows_named(pattern.text) or pattern.text not in inlined.counts:
        return {}
    return {pattern.text: inlined.sites(pattern.text)}


def _inlining(executable: Executable, rows: Sequence[int], gone: dict[str, int]) -> list[Issue]:
    counts = executable.inlined.counts
    names = executable.functions.names
    partly = {names[row]: counts[names[row]] for row in rows if names[row] in counts}
    detailed = len(gone) + len(partly) <= _DETAILED
    issues = [
        Issue(name, "inlined", f"inlined at {_places(executable, name, count, detailed)}: there is nothing to probe")
        for name, count in sorted(gone.items())
    ]
    issues += [
        Issue(
            name,
            "partly inlined",
            f"also inlined at {_places(executable, name, count, detailed)}: those calls are not seen",
        )
        for name, count in sorted(partly.items())
    ]
    return issues


def _places(executable: Executable, name: str, count: int, detailed: bool) -> str:
    number = f"{count} place{'s' if count > 1 else ''}"
    if not detailed:
        return number
    callers = sorted(executable.functions.names[row] for row in executable.inlined.callers(name))
    more = ", ..." if len(callers) > _NAMED_CALLERS else ""
    return f"{number} ({', '.join(callers[:_NAMED_CALLERS])}{more})" if callers else number
