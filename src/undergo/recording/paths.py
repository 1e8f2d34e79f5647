"""Call paths: the functions from the outermost recorded caller down to a call, each numbered once.

A call is announced (CALL_OPENED) before anything beneath it is reported, so the paths of a stretch of records are
numbered in one go over those that were announced, of which there are few, and the calls that ended find their
caller's path all at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undergo.recording.tables import LOST_PATH

#: Calls that have begun and whose end was not seen; beyond, the oldest are forgotten: their records were dropped,
#: or else their callees' paths are said to be lost.
_MOST_OPEN: Final = 1 << 21
_FUNC_BITS: Final = 24  # COOKIE_FUNC in bpf/undergo.h
_NONE: Final = -1  # the path of a call's callers, if it has none
_AT_NONE, _AT_LOST, _FIRST = 0, 1, 2  # places in the list of paths that callers are looked up in


class Paths:
    """All paths so far, and the calls that are open now; both go on from segment to segment."""

    def __init__(self, record: np.dtype[np.void]) -> None:
        """`record` is struct call_record."""
        self.parents: list[int | None] = []  # by path - 1: the table's columns
        self.funcs: list[int] = []
        self.depths: list[int] = []
        self.open = np.zeros(0, record)  # CALL_OPENED of calls that have not ended
        self.open_paths = np.zeros(0, np.int32)
        self._known: dict[int, int] = {}

    def add(self, parent: int, func: int) -> int:
        """The path of a function called on a path, LOST_PATH or none (-1)."""
        key = parent + 1 << _FUNC_BITS | func
        path = self._known.get(key)
        if path is None:
            path = self._known[key] = len(self.funcs) + 1
            self.parents.append(None if parent == _NONE else parent)
            self.funcs.append(func)
            # of a path that begins with the lost one, that counts as one function
            self.depths.append(
                0 if parent == _NONE else 1 if parent == LOST_PATH else self.depths[parent - 1] + 1
            )
        return path

    def feed(
        self, opened: npt.NDArray[np.void], ended: Mapping[str, npt.NDArray[Any]]
    ) -> npt.NDArray[np.int32]:
        """Takes the CALL_OPENED of a segment, and `id`, `parent`, `func` of its CALL_CLOSED; the latter's paths."""
        calls = np.concatenate([self.open, opened])
        ids, first = np.unique(calls["id"], return_index=True)

        def places(wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
            """Where in `calls` each id is, -1 if it is not there."""
            if not len(ids):
                return np.full(len(wanted), -1)
            at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
            return np.where(ids[at] == wanted, first[at], -1)

        def callers(parents: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
            """Where in `paths` the path of each caller is."""
            at = places(parents)
            return np.where(parents == 0, _AT_NONE, np.where(at < 0, _AT_LOST, at + _FIRST))

        paths = [_NONE, LOST_PATH, *self.open_paths.tolist()]
        above = callers(opened["parent"])
        # a caller that is announced after its callee was lost the first time
        above[above >= np.arange(len(opened)) + len(paths)] = _AT_LOST
        known, add, append = self._known, self.add, paths.append
        for at, func in zip(above.tolist(), opened["func"].tolist(), strict=True):
            parent = paths[at]
            append(known.get(parent + 1 << _FUNC_BITS | func) or add(parent, func))

        numbered = np.array(paths)
        keys = numbered[callers(ended["parent"])] + 1 << _FUNC_BITS | ended["func"].astype(np.int64)
        each, which = np.unique(keys, return_inverse=True)
        mask = (1 << _FUNC_BITS) - 1
        found = np.array([add((key >> _FUNC_BITS) - 1, key & mask) for key in each.tolist()], np.int32)

        still = np.zeros(len(calls), np.bool_)
        still[first] = True
        gone = places(ended["id"])
        still[gone[gone >= 0]] = False
        rest = np.flatnonzero(still)[-_MOST_OPEN:]
        self.open, self.open_paths = calls[rest], numbered[_FIRST:][rest].astype(np.int32)
        return found[which]
