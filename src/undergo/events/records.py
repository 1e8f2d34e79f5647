"""What the records of the hot ring have in common: their kinds and flags, as in bpf/undergo.h."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt


class Kind(IntEnum):
    """enum record_kind."""

    CALL_OPENED = 1
    CALL_CLOSED = 2
    CALL_WAITS = 3
    STATE_CHANGED = 4
    GOROUTINE_BORN = 5
    GOROUTINE_ENDED = 6


HAS_SPLIT: Final = 1  # enum call_flag
HAS_GAP: Final = 2
SPENT_KNOWN: Final = 1  # enum state_flag


def split_known(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Of CALL_CLOSED, by their flags: whether where their time went is known."""
    known: npt.NDArray[np.bool_] = (flags & (HAS_SPLIT | HAS_GAP)) == HAS_SPLIT
    return known


def counts(records: npt.NDArray[np.void]) -> tuple[int, int, int]:
    """How many calls that ended, changes of state and births a batch has."""
    found = np.bincount(records["kind"], minlength=len(Kind) + 1)
    return tuple(found[[Kind.CALL_CLOSED, Kind.STATE_CHANGED, Kind.GOROUTINE_BORN]].tolist())
