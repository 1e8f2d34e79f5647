"""What the flight recorder waits for, looked for in batches of records."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from undergo.events.decode import ENDS
from undergo.events.records import Kind
from undergo.events.values import Captured


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


class Triggers:
    """Some of them."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._ended = [each for each in triggers if each.kind != "fails"]
        self._failing = [each for each in triggers if each.kind == "fails"]

    def seen(self, records: npt.NDArray[np.void], captured: Collection[Captured]) -> Happened | None:
        """The first that a batch meets, of records or of what was captured."""
        closed = records[records["kind"] == Kind.CALL_CLOSED] if self._ended else records[:0]
        for each in self._ended:
            met = np.isin(closed["func"], list(each.funcs))
            met &= closed["wall"] >= each.limit if each.kind == "slower" else closed["end"] == _PANIC
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


_PANIC = ENDS.index("panic")
