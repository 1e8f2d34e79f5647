"""Where functions were inlined: from the inline trees of the function table, so also in stripped executables.

Each function's FUNCDATA 3 points to an array of `inlinedCall` records (runtime/symtabinl.go; 20 bytes up to
Go 1.19, 16 from 1.20). Its length is recorded nowhere: it ends where the next piece of funcdata begins, or
at the first record that cannot be one. All trees are read at once with numpy; no pc table is decoded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from undergo.errors import TruncatedError
from undergo.goexe.elf import ElfImage
from undergo.goexe.functions import FunctionTable

_FUNCDATA_INLINE_TREE = 3
_NONE = np.uint64(0xFFFFFFFFFFFFFFFF)
_LARGEST = 1 << 28  # bytes of funcdata; a gigabyte of code has some 60 MB

Ints = npt.NDArray[np.int64]


class InlineIndex:
    """Which functions were inlined, how often, and into which functions."""

    def __init__(
        self, functions: FunctionTable, elf: ElfImage, gofunc: int, version: tuple[int, int]
    ) -> None:
        """`gofunc` is what funcdata offsets count from (unused for Go 1.17). Unreadable: empty."""
        self._functions = functions
        self._rows: Ints = np.empty(0, np.int64)  # per call site: the function it was inlined into
        self._name_offsets: Ints = np.empty(0, np.int64)  # per call site: the inlined function's name
        with contextlib.suppress(TruncatedError):  # it only serves hints: no reason to refuse an executable
            self._rows, self._name_offsets = _read(functions, elf, gofunc, version)

    def __len__(self) -> int:
        """Number of inlined call sites in the executable; a site inlined twice over counts twice."""
        return len(self._rows)

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of sites of every function that was inlined anywhere, by name."""
        offsets, counts = np.unique(self._name_offsets, return_counts=True)
        found: dict[str, int] = {}
        for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True):
            name = self._functions.name_at(offset)
            found[name] = found.get(name, 0) + count
        return found

    def sites(self, name: str) -> int:
        """At how many places the function was inlined."""
        return self.counts.get(name, 0)

    def callers(self, name: str) -> dict[int, int]:
        """The rows of the functions it was inlined into, and how often into each."""
        if name not in self.counts:
            return {}
        names = np.unique(self._name_offsets)
        wanted = [offset for offset in names.tolist() if self._functions.name_at(offset) == name]
        rows, counts = np.unique(self._rows[np.isin(self._name_offsets, wanted)], return_counts=True)
        return dict(zip(rows.tolist(), counts.tolist(), strict=True))

    def per_function(self) -> dict[int, int]:
        """The number of calls inlined into each function that has any, by row."""
        rows, counts = np.unique(self._rows, return_counts=True)
        return dict(zip(rows.tolist(), counts.tolist(), strict=True))

    def only_inlined(self, predicate: Callable[[str], object]) -> dict[str, int]:
        """Matching functions that have no code of their own, and at how many places each was inlined."""
        own = self._functions
        return {
            name: count
            for name, count in sorted(self.counts.items())
            if predicate(name) and not own.rows_named(name)
        }


def _read(
    functions: FunctionTable, elf: ElfImage, gofunc: int, version: tuple[int, int]
) -> tuple[Ints, Ints]:
    """Per call site: the row of the function, the offset of the inlined function's name."""
    nothing = np.empty(0, np.int64), np.empty(0, np.int64)
    everything, trees = functions.funcdata(_FUNCDATA_INLINE_TREE)
    rows = np.flatnonzero(trees != _NONE)
    if not len(rows):
        return nothing
    base = int(everything.min()) if functions.absolute_funcdata else gofunc
    starts = (trees[rows] - np.uint64(base) if functions.absolute_funcdata else trees[rows]).astype(np.int64)
    places = (everything - np.uint64(base) if functions.absolute_funcdata else everything).astype(np.int64)
    size = 20 if version < (1, 20) else 16
    # The last piece has no successor: the segment's end, and the check of every record, bound it.
    reach = min(elf.available(base), int(places.max()) + (1 << 16))
    if not 0 < int(starts.max()) + size <= reach < _LARGEST:
        return nothing
    data = elf.read(base, reach)
    bounds = np.append(places, reach)
    ends = bounds[np.searchsorted(bounds, starts, side="right")]
    counts = (ends - starts) // size
    first = np.cumsum(counts) - counts
    at = np.repeat(starts - first * size, counts) + np.arange(int(counts.sum())) * size
    owner = np.repeat(rows, counts)
    spare = np.frombuffer(data, np.uint8)
    words = spare[: len(data) // 4 * 4].view("<u4")
    at = np.minimum(at, len(data) - size)
    name_word, pc_word, line_word = (12, 16, 8) if size == 20 else (4, 8, 12)
    kind_byte = 2 if size == 20 else 0
    names = words[(at + name_word) // 4].astype(np.int64)
    sane = (spare[at + kind_byte] < 64) & (spare[at + kind_byte + 1] == 0) & (at % 4 == 0)
    sane &= words[(at + pc_word) // 4] < (functions.limits - functions.entries)[owner]
    sane &= words[(at + line_word) // 4] > 0  # padding reads as zeros
    sane &= functions.are_names(names)
    # Keep a tree's records up to its first bad one.
    bad_before = np.cumsum(~sane) - ~sane
    sane &= bad_before == np.repeat(bad_before[np.minimum(first, len(at) - 1)], counts)
    return owner[sane].astype(np.int64), names[sane]
