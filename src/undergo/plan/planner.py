"""From an executable and patterns to a ProbePlan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from undergo.errors import UsageError
from undergo.plan.patterns import Pattern, compile_pattern, nothing_matches, rows_matching
from undergo.plan.probe_plan import FunctionPlan, Issue, ProbePlan, Role
from undergo.plan.runtime_sites import runtime_sites
from undergo.plan.sets import NO_SETS, Sets, is_set, members
from undergo.plan.sites import place
from undergo.plan.untraceable import untraceable

if TYPE_CHECKING:
    from undergo.goexe.executable import GoExecutable
    from undergo.goexe.functions import FunctionTable

FRAME_ROLES: Final = frozenset({Role.RECOVERY, Role.DEATH})  # what exact calls need
TRANSITION_ROLES: Final = frozenset({Role.TRANSITION, Role.INLINED_TRANSITION, Role.PREEMPTION})
STATE_ROLES: Final = TRANSITION_ROLES | {
    Role.SYSCALL_TRANSITION,
    Role.BIRTH,
}  # every change of every goroutine
CLOCK_ROLES: Final = FRAME_ROLES | TRANSITION_ROLES  # and where their time goes

_NAMED_CALLERS: Final = 3  # of an inlined function, in a message
_DETAILED: Final = 20  # issues about inlining that name callers; looking them up costs milliseconds each


def make_plan(
    executable: GoExecutable,
    index: int,
    first_id: int,
    patterns: Sequence[str],
    *,
    roles: Collection[Role] = FRAME_ROLES,
    sets: Sets = NO_SETS,
    max_probes: int,
) -> ProbePlan:
    """Plan the probes for the functions the patterns name, in the order of their addresses.

    `index` is the executable's place in the session, `first_id` the id of its first function; `roles` are the
    probes in the runtime, of which there is only one set without patterns; `sets` are the configured ones
    that patterns may name. A function that cannot be traced is an
    issue. Raises UsageError for a pattern that is wrong or selects nothing, and for more
    than `max_probes` probes.
    """
    rows, issues = _select(executable, patterns, sets)
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


def _select(executable: GoExecutable, patterns: Sequence[str], sets: Sets) -> tuple[list[int], list[Issue]]:
    """Rows of the function table in order, and what there is to say about sets and inlining."""
    functions = executable.functions
    rows: set[int] = set()
    gone: dict[str, int] = {}
    issues: list[Issue] = []
    compiled = [compile_pattern(text) for text in patterns if not is_set(text)]
    for name in filter(is_set, patterns):
        found, more = members(executable, name, sets)
        if not found:
            raise UsageError(f"no function of {executable.display} is in {name}", _said(more))
        rows.update(found)
        issues += more
    for pattern in compiled:
        chosen = _without_wrappers(functions, rows_matching(functions, pattern))
        exact = pattern.literal and functions.rows_named(pattern.text)
        inlined = {} if exact else _only_inlined(executable, pattern)
        if not chosen and not inlined:
            raise nothing_matches(pattern, functions.names, executable.inlined.counts)
        rows.update(chosen)
        gone.update(inlined)
    ordered = sorted(rows)
    return ordered, issues + _inlining(executable, ordered, gone)


def _said(issues: Sequence[Issue]) -> str:
    return issues[0].message if issues else "the program does not use what it stands for"


def _without_wrappers(functions: FunctionTable, rows: Sequence[int]) -> Sequence[int]:
    """Without ABI wrappers and promoted methods, which only call what they wrap; unless nothing else is meant."""
    return [row for row in rows if not functions.is_wrapper(row)] or rows


def _only_inlined(executable: GoExecutable, pattern: Pattern) -> dict[str, int]:
    inlined = executable.inlined
    if pattern.literal and pattern.text in inlined.counts:
        return {pattern.text: inlined.sites(pattern.text)}
    return inlined.only_inlined(pattern.matches)


def _inlining(executable: GoExecutable, rows: Sequence[int], gone: dict[str, int]) -> list[Issue]:
    counts = executable.inlined.counts
    names = executable.functions.names
    partly = {names[row]: counts[names[row]] for row in rows if names[row] in counts}
    detailed = len(gone) + len(partly) <= _DETAILED
    issues = [
        Issue(
            name,
            "inlined",
            f"inlined at {_places(executable, name, count, detailed)}: there is nothing to probe",
        )
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


def _places(executable: GoExecutable, name: str, count: int, detailed: bool) -> str:
    number = f"{count} place{'s' if count > 1 else ''}"
    if not detailed:
        return number
    callers = sorted(executable.functions.names[row] for row in executable.inlined.callers(name))
    more = ", ..." if len(callers) > _NAMED_CALLERS else ""
    return f"{number} ({', '.join(callers[:_NAMED_CALLERS])}{more})" if callers else number
