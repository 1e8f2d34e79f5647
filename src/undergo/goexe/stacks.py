"""From the addresses of a stack to its functions, inlined ones included, without debug information.

What was inlined at an address: PCDATA 2 has an index in the tree that FUNCDATA 3 points to, -1 for none. A record of
that tree has the name and, as `parentPc`, an address in the function it was inlined into, whose own index goes on
outwards (runtime/symtabinl.go, Go 1.17 to 1.27; 20 bytes a record up to Go 1.19, since then 16).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from undergo.errors import TruncatedError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.function import Function, Source

_FUNCDATA_INLINE_TREE: Final = 3
_PCDATA_INLINE_INDEX: Final = 2
_NONE: Final = 0xFFFFFFFFFFFFFFFF
_DEEPEST: Final = 100  # functions inlined into each other


class Stacks:
    """Finds the functions at the addresses of one executable, each address once."""

    def __init__(self, executable: GoExecutable) -> None:
        self._executable = executable
        self._functions = executable.functions
        self._known: dict[int, tuple[Source, ...]] = {}

    def of(self, addresses: Sequence[int]) -> list[Source]:
        """The functions, innermost first, of return addresses as linked; what no function holds goes by its address."""
        return [source for address in addresses for source in self._at(address)]

    def _at(self, address: int) -> tuple[Source, ...]:
        known = self._known.get(address)
        if known is None:
            # the call is what lies before the address to return to
            known = self._known[address] = self._look_up(address - 1)
        return known

    def _look_up(self, pc: int) -> tuple[Source, ...]:
        """Functions that the compiler made to wrap others are left out, as the runtime does."""
        try:
            function, source = self._functions.find(pc), self._functions.source(pc)
        except TruncatedError:
            function = source = None
        if function is None or source is None:
            return (Source(f"{pc + 1:#x}", "", 0),)
        try:
            return self._with_inlined(function, pc, source)
        except (TruncatedError, struct.error, IndexError):
            return (source,)  # the tree cannot be read: the function itself is right

    def _with_inlined(self, function: Function, pc: int, source: Source) -> tuple[Source, ...]:
        ranges = self._functions.pcdata(function, _PCDATA_INLINE_INDEX)
        tree, size = self._tree(function)
        found: list[Source] = []
        while tree and len(found) < _DEEPEST:
            index = next((value for start, end, value in ranges if start <= pc < end), -1)
            if index < 0:
                break
            record = self._executable.elf.read(tree + index * size, size)
            name, parent = struct.unpack_from("<ii", record, 12 if size == 20 else 4)
            if record[2 if size == 20 else 0] != self._functions.wrapper_id:
                found.append(replace(source, function=self._functions.name_at(name)))
            pc = function.entry + parent
            source = self._functions.source(pc) or Source(function.name, "", 0)
        return (*found, *(() if function.wrapper else (replace(source, function=function.name),)))

    @cached_property
    def _trees(self) -> npt.NDArray[np.uint64]:
        return self._functions.funcdata(_FUNCDATA_INLINE_TREE)[1]

    def _tree(self, function: Function) -> tuple[int, int]:
        """Where a function's inline tree is, 0 if it has none, and the bytes of a record."""
        place = int(self._trees[function.index])
        size = 20 if self._executable.build.version < (1, 20) else 16
        if place == _NONE:
            return 0, size
        return (
            place if self._functions.absolute_funcdata else self._executable.moduledata.gofunc + place,
            size,
        )
