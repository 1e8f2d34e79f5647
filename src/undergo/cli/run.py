"""The life of a tracing session as commands see it: begin, wait for batches and for the end, stop, account."""

from __future__ import annotations

import os
import platform
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from undergo import __version__
from undergo.cli.interrupt import end_at_once
from undergo.cli.targets import Targets
from undergo.events.calls import Ledger
from undergo.events.decode import ledger
from undergo.goexe.executable import GoExecutable
from undergo.goexe.wait_reasons import wait_reasons
from undergo.kernel.session import OpenFrame, Session, Traced, Wanted
from undergo.plan.probe_plan import Issue, ProbePlan, Role
from undergo.plan.wait_slots import WaitSlots, wait_slots
from undergo.target.launch import end_like
from undergo.views import jsonlines
from undergo.views.ledger import ledger_lines
from undergo.views.style import Palette

#: How often the rings are emptied when nothing wakes us, in ns.
POLL_NS = 100_000_000

REMEDIES = {
    "ring full": "trace fewer functions, or only slow calls with --min-duration",
    "goroutines full": "raise --max-goroutines",
    "frames full": "the recursion is deeper than the frame table; trace fewer of its functions",
    "functions full": "trace fewer functions; there is no room for more histograms",
    "g implausible": "the runtime's layout is not what it was taken for; please report it with `undergo inspect`",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """What there is to know once tracing has ended."""

    at: int  # ns, CLOCK_MONOTONIC
    frames: tuple[OpenFrame, ...]
    died: frozenset[int]  # pids that ended before


class Stopper:
    """Ctrl-C and SIGTERM, as something to poll on. The second one ends undergo at once."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.stopped: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def fileno(self) -> int:
        """Readable once a signal came."""
        return self._read

    def _note(self, number: int, frame: object) -> None:
        if self.stopped is not None:
            end_at_once(128 + number)  # the kernel takes the probes out with our descriptors
        self.stopped = number
        os.write(self._write, b"!")


def traced(targets: Targets, plans: Sequence[ProbePlan]) -> list[Traced]:
    """The session's view of executables and their plans."""
    found = []
    slots = slots_of(targets.executables)
    rows = zip(targets.executables, plans, slots.rows, strict=True)
    for index, (executable, plan, row) in enumerate(rows):
        layout: dict[str, object] = {name: getattr(executable.layout, name) for name in _OFFSETS}
        layout |= {"only_targets": index not in targets.every, "code_start": executable.elf.code_start}
        layout |= {"wait_slots": row, "stale_slot": slots.stale, "preempted_slot": slots.preempted}
        caller = next((r for r in plan.runtime if r.truthful_caller), None)
        if caller is not None and caller.truthful_caller is not None:
            low, high = caller.truthful_caller
            layout |= {"park_low": low - caller.site.address, "park_high": high - caller.site.address}
        found.append(Traced(plan, executable.elf.fileno(), layout))
    return found


def can_split(plans: Sequence[ProbePlan]) -> bool:
    """Whether every executable's status transitions are seen: else no split would be right."""
    return all(any(site.role == Role.TRANSITION for site in plan.runtime) for plan in plans)


def programs_of(targets: Targets, plans: Sequence[ProbePlan]) -> dict[int, str]:
    """The file name of the program that each function is of, by FunctionPlan.id."""
    return {
        function.id: os.path.basename(executable.display.partition(" (")[0])
        for executable, plan in zip(targets.executables, plans, strict=True)
        for function in plan.functions
    }


def slots_of(executables: Sequence[GoExecutable]) -> WaitSlots:
    """The wait reasons that a session of these executables tells apart."""
    return wait_slots(wait_reasons(executable.build.version) for executable in executables)


_OFFSETS = (
    "g_m",
    "g_sched_sp",
    "g_atomicstatus",
    "g_goid",
    "g_waitreason",
    "g_gopc",
    "g_startpc",
    "m_curg",
)


@contextmanager
def session(
    targets: Targets,
    plans: Sequence[ProbePlan],
    wanted: Wanted,
    before: Callable[[Session], None] = lambda _: None,
) -> Iterator[Session]:
    """An attached session; a launched command is released once everything is in place, and `before` was called."""
    with Session(traced(targets, plans), wanted) as open_session:
        before(open_session)
        if targets.launched:
            targets.launched.release()
        yield open_session


def follow(
    open_session: Session,
    targets: Targets,
    stopper: Stopper,
    duration: int | None,
    each: Callable[[], bool],
    busy: Callable[[], bool] = lambda: False,
) -> None:
    """Calls `each` at least every 100 ms until it returns False, time is up, Ctrl-C, or the targets ended.

    While there is more to do than that, as `busy` says, it is called at once.
    """
    poll = select.poll()
    for descriptor in open_session.filenos():
        poll.register(descriptor, select.POLLIN)
    poll.register(stopper.fileno(), select.POLLIN)
    alive = {end.fileno() for end in targets.ends}
    if targets.launched:
        alive.add(targets.launched.fileno())
    watched = bool(alive) and not targets.every
    for descriptor in alive:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic_ns() + duration if duration is not None else None
    while stopper.stopped is None:
        wait = 0 if busy() else POLL_NS
        if deadline is not None:
            left = deadline - time.monotonic_ns()
            if left <= 0:
                return
            wait = min(wait, left)
        for descriptor, _ in poll.poll(-(-wait // 1_000_000)):
            if descriptor in alive:
                alive.discard(descriptor)
                poll.unregister(descriptor)
        if not each():
            return
        if watched and not alive:
            return


def end(open_session: Session, targets: Targets) -> Ending:
    """Takes the probes out, and tells what was still open."""
    at = time.monotonic_ns()
    open_session.stop()
    frames = tuple(open_session.open_frames())
    died = frozenset(pid for pid in {frame.pid for frame in frames} if not os.path.exists(f"/proc/{pid}/exe"))
    if targets.launched and targets.launched.returncode is not None:
        died |= {targets.launched.pid}
    return Ending(at, frames, died)


def account(open_session: Session, ending: Ending, *, aggregated: bool) -> Ledger:
    """The ledger of a session that has ended."""
    return ledger(
        open_session.tallies(),
        open_session.overflow(),
        open_session.drop_causes(),
        len(ending.frames),
        aggregated=aggregated,
    )


def session_line(targets: Targets, plans: Sequence[ProbePlan]) -> str:
    """The machine interface's first line."""
    pids: list[tuple[int | None, int]] = [*targets.pids.items()]
    pids += [(None, index) for index in sorted(targets.every)]
    described: list[dict[str, object]] = [
        {
            "pid": pid,
            "exe": targets.executables[index].display,
            "go": targets.executables[index].build.go_version,
            "build_id": targets.executables[index].build_id,
        }
        for pid, index in pids
    ]
    functions, probes = sum(len(p.functions) for p in plans), sum(p.probes for p in plans)
    return jsonlines.session(__version__, platform.release(), described, functions, probes)


def announce(targets: Targets, plans: Sequence[ProbePlan], as_json: bool, style: Palette) -> None:
    """What was attached and what could not be: as the first JSON lines, or for people on stderr."""
    issues = [issue for plan in plans for issue in plan.issues]
    if as_json:
        text = session_line(targets, plans) + "".join(map(jsonlines.issue, issues))
        jsonlines.write_batch(sys.stdout.buffer, text)
        return
    for issue in issues[:5]:
        print(style.paint(style.dim, f"note: {issue.func}: {issue.message}"), file=sys.stderr)
    if len(issues) > 5:
        more = f"note: {len(issues) - 5} more like these; --dry-run shows them all"
        print(style.paint(style.dim, more), file=sys.stderr)
    functions, probes = sum(len(p.functions) for p in plans), sum(p.probes for p in plans)
    what = (
        f"tracing {functions:,} function{'' if functions == 1 else 's'}"
        if functions
        else "watching goroutines"
    )
    text = f"{what} with {probes:,} probes; Ctrl-C ends"
    print(style.paint(style.dim, text), file=sys.stderr, flush=True)


def say_notes(open_session: Session, as_json: bool, style: Palette, values_lost: int = 0) -> None:
    """What had to be made good, and what was lost beside calls; `values_lost` on our side."""
    notes = []
    if repairs := open_session.clock_repairs():
        text = (
            f"{repairs:,} times this kernel did not show that a thread was back on its CPU, or out of a system"
            " call; the clocks were set right by the scheduler's own books"
        )
        notes.append(Issue("", "clock repaired", text))
    if lost := open_session.captures_lost() + values_lost:
        text = (
            f"the arguments or results of {lost:,} calls had no room; trace fewer functions, or use --filter"
        )
        notes.append(Issue("", "values lost", text))
    if untested := open_session.untested():
        text = f"{untested:,} calls count as filtered because there was no room to test them"
        notes.append(Issue("", "not tested", text))
    for note in notes:
        if as_json:
            jsonlines.write_batch(sys.stdout.buffer, jsonlines.issue(note))
        else:
            print(style.paint(style.dim, f"note: {note.message}"), file=sys.stderr)


def say_ledger(row: Ledger, as_json: bool, style: Palette) -> None:
    """The ledger: the last JSON line, or losses on stderr and nothing if nothing was lost."""
    if as_json:
        jsonlines.write_batch(sys.stdout.buffer, jsonlines.ledger(row))
        return
    for line in ledger_lines(row, REMEDIES, style):
        print(line, file=sys.stderr)


def leave(targets: Targets, stack: ExitStack) -> None:
    """Ends as the launched command ended: waits for it, passes its status on, or its signal."""
    if targets.launched is None:
        return
    status = targets.launched.wait()
    stack.close()
    sys.stdout.flush()
    if status is not None:
        end_like(status)
