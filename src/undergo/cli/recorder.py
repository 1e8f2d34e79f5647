"""What the command `record` knows of a session, as the recording's meta.json says it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict

from undergo import __version__
from undergo.cli.sources import birth_sites
from undergo.cli.targets import Targets
from undergo.kernel.session import Session
from undergo.plan.probe_plan import ProbePlan
from undergo.plan.wait_slots import WaitSlots
from undergo.recording.meta import ExecutableRow, FunctionRow, Host, Meta, ProcessRow
from undergo.recording.raw import STRUCTS, layout_of


def meta_of(
    running: Session,
    targets: Targets,
    plans: Sequence[ProbePlan],
    slots: WaitSlots,
    kept: Sequence[str],
    started_ns: int,
    offset_ns: int,
) -> Meta:
    """The meta.json of a recording that begins; times in ns, `started_ns` since the epoch."""
    return Meta(
        undergo=__version__,
        host=Host(platform.node(), platform.release(), platform.machine(), os.cpu_count() or 1),
        started_ns=started_ns,
        offset_ns=offset_ns,
        kept=tuple(kept),
        executables=tuple(
            ExecutableRow(one.display, one.build.go_version, one.build_id, one.build.module)
            for one in targets.executables
        ),
        processes=tuple(ProcessRow(pid, index) for pid, index in targets.pids.items()),
        functions=tuple(
            FunctionRow(planned.function.name, plan.executable, planned.function.file, planned.function.line)
            for plan in plans
            for planned in plan.functions
        ),
        clock_reasons=slots.in_clocks,
        state_reasons=slots.names,
        birth_sites=tuple(map(birth_sites, plans)),
        layouts={name: layout_of(running.dtype(name)) for name in STRUCTS},
        issues=tuple(asdict(issue) for plan in plans for issue in plan.issues),
    )
