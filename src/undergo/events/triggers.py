"""What the flight recorder waits for, looked for in batches of records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from undergo.events.decode import ENDS
from undergo.events.records import Kind
from undergo.events.values import Captured
from undergo.kernel.session import OpenFrame


@dataclass(frozen=True, slots=True)
class Trigger:
    """Something that calls do: take longer than `limit` ns, panic, or give back an error."""

    kind: Literal["slower", "panics", "fails"]
    funcs: frozenset[int]  # FunctionPlan.id
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Happened:
    """A trigger met by a call; `wall_ns` None if that is not known."""

    trigger: Trigger
    func: int
    pid: int | None
    goid: int | None
    wall_ns: int | None
    still: bool = False  # it has not ended


class Triggers:
    """Some of them."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._ended = [each for each in triggers if each.kind != "fails"]
        self._failing = [each for each in triggers if each.kind == "fails"]
        self._told: set[int] = set()  # calls that were too slow before they ended

    def seen(self, records: npt.NDArray[np.void], captured: Collection[Captured]) -> Happened | None:
        """The first that a batch meets, of records or of what was captured."""
        closed = records[records["kind"] == Kind.CALL_CLOSED] if self._ended else records[:0]
        for each in self._ended:
            met = np.isin(closed["func"], list(each.funcs))
            met &= closed["wall"] >= each.limit if each.kind == "slower" else closed["end"] == _PANIC
            if self._told:
                met &= ~np.isin(closed["id"], list(self._told))
            if met.any():
                call = closed[met][0]
                return Happened(
                    each, int(call["func"]), int(call["tgid"]), int(call["goid"]), int(call["wall"])
                )
        for each in self._failing:
            for one in captured:
                if one.func in each.funcs and one.failed:
                    return Happened(each, one.func, None, None, None)
        return None

    @property
    def about_open_calls(self) -> bool:
        """Whether a call need not have ended to meet one."""
        return any(each.kind == "slower" for each in self._ended)

    def still(self, frames: Iterable[OpenFrame], now: int) -> Happened | None:
        """The first call that is open at `now` (ns, CLOCK_MONOTONIC) and takes too long; each call is told of once."""
        for frame in frames:
            for each in self._ended:
                wall = now - frame.start
                if (
                    each.kind == "slower"
                    and frame.func in each.funcs
                    and wall >= each.limit
                    and frame.id not in self._told
                ):
                    self._told.add(frame.id)
                    return Happened(each, frame.func, frame.pid, frame.goid, wall, still=True)
        return None


_PANIC = ENDS.index("panic")
