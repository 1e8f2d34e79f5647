"""Which wait reasons are told apart: 64 in the stream of states, the first 24 in a goroutine's clock.

Go versions number their reasons differently, so the numbers of every executable are mapped to common slots. The
last slot takes all others; in the clock, that is the last of 24.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from undergo.goexe.wait_reasons import COLLECTION, PREEMPTED

SLOTS: Final = 64  # WAIT_REASONS in bpf/undergo.h
CLOCK_SLOTS: Final = 24  # WAIT_SLOTS there
OTHER: Final = "other"

# What can stop a program's own code, likeliest first; in clocks the runtime's own goroutines share the last slot.
_FIRST: Final = (
    "chan receive",
    "chan send",
    "select",
    "sleep",
    "IO wait",
    "sync.Mutex.Lock",
    "sync.RWMutex.RLock",
    "sync.RWMutex.Lock",
    "sync.Cond.Wait",
    "sync.WaitGroup.Wait",
    "semacquire",
    COLLECTION,
    PREEMPTED,
    "GC assist marking",
    "GC assist wait",
    "GC sweep wait",
    "GC mark termination",
    "wait for GC cycle",
    "stopping the world",
    "coroutine",
    "select (no cases)",
    "panicwait",
)


@dataclass(frozen=True, slots=True)
class WaitSlots:
    """Names of the slots, `SLOTS` of them at most, and each executable's map from reason to slot."""

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]  # per executable, by number of the reason

    @property
    def in_clocks(self) -> tuple[str, ...]:
        """Names of the slots of a goroutine's clock."""
        return (*self.names[: CLOCK_SLOTS - 1], OTHER)

    @property
    def stale(self) -> int:
        """The slot of waits that leave no reason behind, all of them the collector's."""
        return self.names.index(COLLECTION)

    @property
    def preempted(self) -> int:
        """The slot of goroutines stopped by the collector or a debugger."""
        return self.names.index(PREEMPTED)


def wait_slots(reasons: Iterable[Sequence[str]]) -> WaitSlots:
    """Slots for the reasons of each executable, as from goexe.wait_reasons; "" is shown as other."""
    tables = list(reasons)
    rest = (reason for table in tables for reason in table if reason and not reason.startswith("reason "))
    known = {reason for table in tables for reason in table}
    always = (COLLECTION, PREEMPTED)
    wanted = dict.fromkeys([*(r for r in _FIRST if r in known or r in always), *rest])
    names = (*list(wanted)[: SLOTS - 1], OTHER)
    slot = {name: index for index, name in enumerate(names)}
    return WaitSlots(names, tuple(tuple(slot.get(r, len(names) - 1) for r in table) for table in tables))
