"""From -p, -e and -- COMMAND to executables, their plans, and which processes to follow."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from undergo.cli.options import Request
from undergo.errors import PermissionDeniedError, TargetError, UsageError
from undergo.goexe.executable import GoExecutable
from undergo.plan.planner import FRAME_ROLES, STATE_ROLES, make_plan
from undergo.plan.probe_plan import ProbePlan, Role
from undergo.target.end import ProcessEnd
from undergo.target.identity import Identity
from undergo.target.launch import LaunchedCommand
from undergo.target.process import find_process

MAX_EXECUTABLES = 16  # bpf/undergo.h


@dataclass(frozen=True, slots=True)
class Targets:
    """What a command traces. `pids` is None where every process of the executables is meant."""

    executables: tuple[GoExecutable, ...]
    pids: dict[int, int] | None  # pid -> index of its executable
    ends: tuple[ProcessEnd, ...]
    launched: LaunchedCommand | None


def open_targets(
    stack: ExitStack,
    pids: Sequence[int],
    executable: str | None,
    command_line: Sequence[str],
    *,
    stdout_to_stderr: bool = False,
    as_root: bool = False,
    launch: bool = True,
) -> Targets:
    """Opens everything that is named; `stack` closes it. Raises UndergoError."""
    ways = bool(pids) + bool(executable) + bool(command_line)
    if ways != 1:
        raise UsageError(
            "name one target" if not ways else "-p, -e and -- COMMAND exclude each other",
            "-p PID, -e EXECUTABLE, or -- COMMAND ARGS...",
        )
    if pids:
        return _of_processes(stack, tuple(dict.fromkeys(pids)))
    if executable:
        return Targets((_open(stack, executable, executable),), None, (), None)
    if not launch:
        from undergo.target.command import resolve_command

        path = resolve_command(command_line[0], os.environ)
        return Targets((_open(stack, path, path),), None, (), None)
    launched = stack.enter_context(
        LaunchedCommand(command_line, stdout_to_stderr=stdout_to_stderr, as_root=as_root)
    )
    opened = _open(stack, launched.path, launched.path)
    return Targets((opened,), {launched.pid: 0}, (), launched)


def _of_processes(stack: ExitStack, pids: Sequence[int]) -> Targets:
    executables: dict[Identity, GoExecutable] = {}
    of_pid: dict[int, int] = {}
    ends = []
    for pid in pids:
        process = find_process(pid)
        ends.append(stack.enter_context(ProcessEnd(process)))
        if process.identity not in executables:
            descriptor = process.open_executable()
            stack.callback(os.close, descriptor)
            executables[process.identity] = _open(stack, f"/proc/self/fd/{descriptor}", process.shown)
        of_pid[pid] = list(executables).index(process.identity)
    if len(executables) > MAX_EXECUTABLES:
        raise UsageError(
            f"{len(executables)} different executables at once, more than {MAX_EXECUTABLES}",
            "trace fewer processes",
        )
    return Targets(tuple(executables.values()), of_pid, tuple(ends), None)


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
    stack: ExitStack, request: Request, roles: Collection[Role] = FRAME_ROLES
) -> tuple[Targets, list[ProbePlan]]:
    """The targets and plans of a tracing command; a command to run is held before its first instruction."""
    targets = _targets(stack, request)
    return targets, plan_all(targets, request.patterns, request.max_probes, roles)


def watched(stack: ExitStack, request: Request) -> tuple[Targets, list[ProbePlan]]:
    """The targets of a command that watches goroutines rather than functions, and the runtime's own probes."""
    targets = _targets(stack, request)
    for executable in targets.executables:
        executable.elf.require_this_machine()
    plans = [
        make_plan(executable, index, 0, (), roles=STATE_ROLES, max_probes=request.max_probes)
        for index, executable in enumerate(targets.executables)
    ]
    return targets, plans


def _targets(stack: ExitStack, request: Request) -> Targets:
    return open_targets(
        stack,
        request.pids,
        request.executable,
        request.command_line,
        stdout_to_stderr=request.as_json,
        as_root=request.as_root,
        launch=not request.dry_run,
    )


def plan_all(
    targets: Targets, patterns: Sequence[str], max_probes: int, roles: Collection[Role] = FRAME_ROLES
) -> list[ProbePlan]:
    """One plan per executable, functions numbered through. Raises UsageError, among others for no match at all."""
    if not patterns:
        raise UsageError("name the functions to trace with -f", "-f 'main.*', or -f '/regex/'")
    plans: list[ProbePlan] = []
    first, refusal = 0, None
    for index, executable in enumerate(targets.executables):
        executable.elf.require_this_machine()
        try:
            plan = make_plan(executable, index, first, patterns, roles=roles, max_probes=max_probes)
        except UsageError as error:
            # with several programs a pattern need not match in each
            if len(targets.executables) == 1 or "more than" in error.message:
                raise
            refusal = error
            plan = ProbePlan(index, (), (), ())
        plans.append(plan)
        first += len(plan.functions)
    if not first:
        issues = [issue for plan in plans for issue in plan.issues]
        if issues:
            raise UsageError(
                f"nothing to trace: {issues[0].func} is {issues[0].message}"
                + (f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""),
                "`undergo list` shows why; trace the functions that call it",
            )
        raise refusal or UsageError("nothing to trace", "name functions with -f")
    return plans
