"""From -p, -e, -c and -- COMMAND to executables, their plans, and which processes to follow."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from undergo.cli.options import Request
from undergo.errors import PermissionDeniedError, TargetError, UndergoError, UsageError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.functions import without_type_arguments
from undergo.plan.addresses import Stale, stale
from undergo.plan.patterns import compile_pattern, nothing_matches
from undergo.plan.planner import FRAME_ROLES, STATE_ROLES, make_plan
from undergo.plan.probe_plan import Issue, ProbePlan, Role
from undergo.plan.sets import NO_SETS, members
from undergo.target.end import ProcessEnd
from undergo.target.identity import Identity, identity_of
from undergo.target.launch import LaunchedCommand
from undergo.target.process import Process, find_process

if TYPE_CHECKING:
    from undergo.target.config import Binary, Config, Given, Symbol

MAX_EXECUTABLES = 16  # bpf/undergo.h


@dataclass(frozen=True, slots=True)
class Targets:
    """What a command traces: executables, and which of their processes."""

    executables: tuple[GoExecutable, ...]
    pids: dict[int, int] = field(default_factory=dict)  # pid -> index of its executable
    every: frozenset[int] = frozenset()  # indexes of executables of which every process is meant
    ends: tuple[ProcessEnd, ...] = ()
    launched: LaunchedCommand | None = None
    binaries: tuple[Binary, ...] = ()  # what the configuration says of each executable

    @property
    def several(self) -> bool:
        """Whether more than one process may be traced."""
        return bool(self.every) or len(self.pids) > 1


def open_targets(
    stack: ExitStack,
    pids: Sequence[int],
    executable: str | None,
    command_line: Sequence[str],
    config: Config | None = None,
    *,
    stdout_to_stderr: bool = False,
    as_root: bool = False,
    launch: bool = True,
) -> Targets:
    """Opens everything that is named; `stack` closes it. Raises UndergoError."""
    from_config = config is not None and bool(config.binaries)
    ways = bool(pids) + bool(executable) + bool(command_line) + from_config
    if ways != 1:
        raise UsageError(
            "name one target" if not ways else "-p, -e, the binaries of -c and -- COMMAND exclude each other",
            "-p PID, -e EXECUTABLE, -c CONFIG.yaml, or -- COMMAND ARGS...",
        )
    if config is not None and from_config:
        return _of_config(stack, config.binaries)
    if pids:
        return _of_processes(stack, tuple(dict.fromkeys(pids)))
    if executable:
        return Targets((_open(stack, executable, executable),), every=frozenset({0}))
    if not launch:
        from undergo.target.command import resolve_command

        path = resolve_command(command_line[0], os.environ)
        return Targets((_open(stack, path, path),), every=frozenset({0}))
    launched = stack.enter_context(
        LaunchedCommand(command_line, stdout_to_stderr=stdout_to_stderr, as_root=as_root)
    )
    opened = _open(stack, launched.path, launched.path)
    return Targets((opened,), {launched.pid: 0}, launched=launched)


def _of_processes(stack: ExitStack, pids: Sequence[int]) -> Targets:
    executables: dict[Identity, GoExecutable] = {}
    of_pid: dict[int, int] = {}
    ends = []
    for pid in pids:
        process = find_process(pid)
        ends.append(stack.enter_context(ProcessEnd(process)))
        if process.identity not in executables:
            executables[process.identity] = _open_running(stack, process)
        of_pid[pid] = list(executables).index(process.identity)
    _check_number(len(executables))
    return Targets(tuple(executables.values()), of_pid, ends=tuple(ends))


def _of_config(stack: ExitStack, binaries: Sequence[Binary]) -> Targets:
    _check_number(len(binaries))
    executables: dict[Identity, GoExecutable] = {}
    of_pid: dict[int, int] = {}
    ends: list[ProcessEnd] = []
    for index, binary in enumerate(binaries):
        processes = []
        for given in binary.pids:
            with _told_at(given):
                processes.append(find_process(given.value))
        ends += [stack.enter_context(ProcessEnd(process)) for process in processes]
        identity, opened = _the_executable(stack, binary, processes)
        if identity in executables:
            other = binaries[list(executables).index(identity)].at
            raise binary.at.wrong(f"{opened.display} is also in line {other.line}", "give its pids as a list")
        executables[identity] = opened
        of_pid |= dict.fromkeys((process.pid for process in processes), index)
    every = frozenset(index for index, binary in enumerate(binaries) if not binary.pids)
    return Targets(tuple(executables.values()), of_pid, every, tuple(ends), binaries=tuple(binaries))


def _the_executable(
    stack: ExitStack, binary: Binary, processes: Sequence[Process]
) -> tuple[Identity, GoExecutable]:
    """The one executable of an entry, whichever way it is named; of the version that the entry is about."""
    identity = processes[0].identity if processes else None
    if binary.path is not None:
        with _told_at(binary.path):
            named = identity_of(binary.path.value)
            opened = _open(stack, binary.path.value, binary.path.value)
        identity = named if identity is None else identity
    else:
        with _told_at(binary.pids[0]):
            opened = _open_running(stack, processes[0])
    assert identity is not None
    for given, process in zip(binary.pids, processes, strict=True):
        if process.identity != (named if binary.path is not None else identity):
            raise given.wrong(f"process {process.pid} runs {process.shown}, not {opened.display}")
    given_id = binary.build_id
    if given_id is not None and given_id.value != opened.build_id:
        raise given_id.wrong(
            f"{opened.display} is another build now: {opened.build_id}",
            "write its entry again with `undergo config`",
        )
    return identity, opened


@contextmanager
def _told_at(given: Given[Any]) -> Iterator[None]:
    """Errors in here are told with a place in the configuration."""
    try:
        yield
    except UndergoError as error:
        raise type(error)(given.wrong(error.message).message, error.hint) from None


def _check_number(executables: int) -> None:
    if executables > MAX_EXECUTABLES:
        raise UsageError(
            f"{executables} different executables at once, more than {MAX_EXECUTABLES}",
            "trace fewer programs",
        )


def _open_running(stack: ExitStack, process: Process) -> GoExecutable:
    descriptor = process.open_executable()
    stack.callback(os.close, descriptor)
    return _open(stack, f"/proc/self/fd/{descriptor}", process.shown)


def _open(stack: ExitStack, path: str, display: str) -> GoExecutable:
    try:
        opened = GoExecutable.open(path, display)
    except FileNotFoundError:
        raise TargetError(f"{display}: no such file", "give the path of a Go executable") from None
    except PermissionError:
        raise PermissionDeniedError(
            f"{display}: this user may not read it", "run as its owner or as root"
        ) from None
    except OSError as error:
        raise TargetError(f"{display}: {error.strerror}", "give the path of a Go executable") from None
    stack.callback(opened.close)
    return opened


def requested(
    stack: ExitStack, request: Request, roles: Collection[Role] = FRAME_ROLES, *, default: bool = False
) -> tuple[Targets, list[ProbePlan]]:
    """The targets and plans of a tracing command; a command to run is held before its first instruction.

    With `default`, functions need not be named: HTTP and gRPC handlers are taken, else the program's own module.
    """
    targets = targets_of(stack, request)
    return targets, plan_all(targets, request, roles, default=default)


def watched(stack: ExitStack, request: Request) -> tuple[Targets, list[ProbePlan]]:
    """The targets of a command that watches goroutines rather than functions, and the runtime's own probes."""
    targets = targets_of(stack, request)
    for executable in targets.executables:
        executable.elf.require_this_machine()
    plans = [
        make_plan(executable, index, 0, (), roles=STATE_ROLES, max_probes=request.max_probes)
        for index, executable in enumerate(targets.executables)
    ]
    return targets, plans


def targets_of(stack: ExitStack, request: Request) -> Targets:
    """The targets alone."""
    return open_targets(
        stack,
        request.pids,
        request.executable,
        request.command_line,
        request.config,
        stdout_to_stderr=request.as_json,
        as_root=request.as_root,
        launch=not request.dry_run,
    )


def plan_all(
    targets: Targets, request: Request, roles: Collection[Role] = FRAME_ROLES, *, default: bool = False
) -> list[ProbePlan]:
    """One plan per executable, functions numbered through. Raises UsageError, among others for no match at all."""
    plans: list[ProbePlan] = []
    first, refusal = 0, None
    sets = request.config.sets if request.config else NO_SETS
    for index, executable in enumerate(targets.executables):
        executable.elf.require_this_machine()
        binary = targets.binaries[index] if targets.binaries and not request.patterns else None
        patterns, said = request.patterns, None
        if binary is not None:
            patterns = patterns_of(executable, binary)
        if not patterns and default:
            said = _by_default(executable)
            patterns = (said.func,)
        if not patterns:
            raise UsageError("name the functions to trace with -f", "-f 'main.*', -f '/regex/' or -f @module")
        try:
            plan = make_plan(
                executable, index, first, patterns, roles=roles, sets=sets, max_probes=request.max_probes
            )
        except UsageError as error:
            # with several programs a pattern of -f need not match in each
            if binary is not None:
                raise binary.at.wrong(error.message, error.hint) from None
            if len(targets.executables) == 1 or "more than" in error.message:
                raise
            refusal = error
            plan = ProbePlan(index, (), (), ())
        if binary is not None:
            check_symbols(executable, binary, plan)
        plans.append(replace(plan, issues=(said, *plan.issues)) if said else plan)
        first += len(plan.functions)
    if not first:
        issues = [issue for plan in plans for issue in plan.issues if issue.kind != _DEFAULT]
        if issues:
            raise UsageError(
                f"nothing to trace: {issues[0].func} is {issues[0].message}"
                + (f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""),
                "`undergo list` shows why; trace the functions that call it",
            )
        raise refusal or UsageError("nothing to trace", "name functions with -f")
    return plans


_DEFAULT = "default"


def _by_default(executable: GoExecutable) -> Issue:
    rows, _ = members(executable, "@handlers")
    name = "@handlers" if rows else "@module"
    return Issue(name, _DEFAULT, f"taken for {executable.display}, because no functions were named with -f")


def patterns_of(executable: GoExecutable, binary: Binary) -> tuple[str, ...]:
    """What an entry of the configuration names; its symbols exactly. Raises UsageError for an unknown symbol."""
    names = []
    for symbol in binary.symbols:
        name = without_type_arguments(symbol.name.value)
        if not executable.functions.rows_named(name):
            unknown = nothing_matches(
                compile_pattern(name), executable.functions.names, executable.inlined.counts
            )
            raise symbol.name.wrong(unknown.message, unknown.hint)
        names.append(name)
    return (*names, *(given.value for given in binary.functions))


def check_symbols(executable: GoExecutable, binary: Binary, plan: ProbePlan) -> None:
    """Whether the addresses that the configuration gives are right. Raises UsageError for the first that is not."""
    planned = {function.function.name: function for function in plan.functions}
    for symbol in binary.symbols:
        function = planned.get(without_type_arguments(symbol.name.value))
        if function is None:
            continue  # an issue says why it cannot be traced
        entry = symbol.entry.value if symbol.entry else None
        for wrong in stale(executable, function, entry, [given.value for given in symbol.rets]):
            raise _given_for(symbol, wrong).wrong(
                wrong.message, "`undergo config` writes the addresses of this build"
            )


def _given_for(symbol: Symbol, wrong: Stale) -> Given[Any]:
    """The value of the file that is wrong; the first return where one is missing."""
    if symbol.entry is not None and wrong.of_entry:
        return symbol.entry
    return next((given for given in symbol.rets if given.value == wrong.address), symbol.rets[0])
