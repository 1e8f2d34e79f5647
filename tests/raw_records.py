"""Records as the kernel side makes them, by hand, with the layouts of the compiled object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.recordings import PID, START
from undergo.kernel.btf import Btf
from undergo.kernel.program import object_bytes
from undergo.recording.meta import ExecutableRow, FunctionRow, Host, Meta, ProcessRow
from undergo.recording.raw import layout_of

BTF = Btf(object_bytes())
CALL, WAITS, STATE = (BTF.dtype(f"{name}_record") for name in ("call", "waits", "state"))
OPENED, CLOSED, FAR, CHANGED, BORN = 1, 2, 3, 4, 5  # enum record_kind
REASONS = ("sleep", "select", "chan send", "chan receive", "IO wait", "other")
ENDS = ("return", "panic", "goexit", "died", "open")
Records = npt.NDArray[np.void]


def meta(functions: int = 8, **more: Any) -> Meta:
    """The meta.json of a recording of main.f0, main.f1 ... that has only begun; its clock starts at START."""
    given: dict[str, Any] = {
        "undergo": "0",
        "host": Host("host", "6.18", "x86_64", 2),
        "started_ns": START,
        "offset_ns": START,
        "kept": ("calls", "split", "states"),
        "executables": (ExecutableRow("/bin/shop", "go1.27.3", "b", "shop"),),
        "processes": (ProcessRow(PID, 0),),
        "functions": tuple(FunctionRow(f"main.f{n}", 0, "main.go", 1) for n in range(functions)),
        "clock_reasons": REASONS,
        "state_reasons": REASONS,
        "birth_sites": ((0x1000,),),
        "layouts": {
            name: layout_of(BTF.dtype(name)) for name in ("call_record", "waits_record", "state_record")
        },
    }
    return Meta(**(given | more))


def opened(id: int, func: int = 0, parent: int = 0, start: int = 0, **more: Any) -> Records:
    """A CALL_OPENED of goroutine 1."""
    row = np.zeros(1, CALL)
    row["kind"], row["end"], row["id"], row["func"], row["parent"], row["start"] = (
        1,
        4,
        id,
        func,
        parent,
        start,
    )
    row["tgid"], row["tid"], row["goid"] = PID, PID, 1
    for name, value in more.items():
        row[name] = value
    return row


def closed(
    id: int,
    func: int = 0,
    parent: int = 0,
    start: int = 0,
    wall: int = 10,
    bins: Sequence[int] | None = None,
    waits: dict[int, int] | None = None,
    end: str = "return",
    **more: Any,
) -> Records:
    """A CALL_CLOSED; `bins` are ns descheduled, in system calls, runnable, waiting, and `waits` ns by slot."""
    row = opened(id, func, parent, start)
    row["kind"], row["wall"], row["end"] = CLOSED, wall, ENDS.index(end)
    if bins is not None:
        row["flags"], row["split"]["bins"] = 1, bins
        for place, (slot, ns) in enumerate((waits or {}).items()):
            row["split"]["slots"][0, place], row["split"]["waits"][0, place] = slot, ns
    for name, value in more.items():
        row[name] = value
    return row


def far(id: int, waits: dict[int, int]) -> Records:
    """A CALL_WAITS: ns by slot."""
    row = np.zeros(1, WAITS)
    row["kind"], row["id"], row["count"] = FAR, id, len(waits)
    row["slots"][0, : len(waits)], row["waits"][0, : len(waits)] = list(waits), list(waits.values())
    return row.view(CALL)


def state(kind: int, time: int, **more: Any) -> Records:
    """A STATE_CHANGED or GOROUTINE_BORN of goroutine 1; `before` and `after` stand for its fields from and to."""
    row = np.zeros(1, STATE)
    row["kind"], row["time"], row["tgid"], row["tid"], row["goid"] = kind, time, PID, PID + 1, 1
    for name, value in more.items():
        row[{"before": "from", "after": "to"}.get(name, name)] = value
    return row.view(CALL)


def batch(*records: Records) -> Records:
    """One array of them all."""
    return np.concatenate(records) if records else np.zeros(0, CALL)


def begin(directory: Path, **more: Any) -> Meta:
    """The directory of a recording that has only begun."""
    (directory / "segments").mkdir(parents=True)
    made = meta(**more)
    made.write(str(directory))
    return made
