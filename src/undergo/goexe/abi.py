"""Where Go's internal calling convention puts parameters and results: registers or stack, word by word.

The rules are those of src/cmd/compile/abi-internal.md (Go 1.17 to 1.27, amd64): a value is taken apart into its basic
values, each of which gets the next free register of its kind; a value of which one part finds none goes to the stack as
a whole. Results begin anew with the first register, and their part of the stack follows the parameters'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from undergo.goexe.types import (
    COMPLEXES,
    FLOATS,
    POINTERS,
    SIGNED,
    UNSIGNED,
    GoType,
    Kind,
    Parameter,
    Types,
)

#: Hardware numbers (RAX 0 ... R15 15) of AX BX CX DI SI R8 R9 R10 R11.
INTEGER_REGISTERS: Final = (0, 3, 1, 7, 6, 8, 9, 10, 11)
REGISTER_NAMES: Final = ("AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11")
FLOAT_REGISTERS: Final = 15  # X0 to X14
#: From DWARF's numbers of integer registers to the hardware's.
FROM_DWARF: Final = (0, 2, 1, 3, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15)
_DWARF_XMM0: Final = 17


@dataclass(frozen=True, slots=True)
class Piece:
    """A basic value's place: exactly one of `register`, `xmm` is there, else it is on the stack with the rest."""

    offset: int  # bytes from the start of the value
    size: int
    register: int | None = None  # hardware number
    xmm: int | None = None


@dataclass(frozen=True, slots=True)
class Assigned:
    """A parameter or result and its place."""

    parameter: Parameter
    pieces: tuple[Piece, ...]  # () where it is on the stack
    stack: int | None = None  # bytes from the CFA (SP before the call), None where it is in registers


def assign(
    parameters: Sequence[Parameter], results: Sequence[Parameter], types: Types
) -> tuple[list[Assigned], list[Assigned]]:
    """The places of parameters, receiver first, at a function's entry, and of its results at its return."""
    state = _State(types)
    at_entry = [state.place(parameter) for parameter in parameters]
    state.results_begin()
    return at_entry, [state.place(result) for result in results]


class _State:
    def __init__(self, types: Types) -> None:
        self._types = types
        self._integers = self._floats = self._stack = 0

    def results_begin(self) -> None:
        self._integers = self._floats = 0
        self._stack = _aligned(self._stack, 8)

    def place(self, parameter: Parameter) -> Assigned:
        if parameter.register is not None:
            self._skip_hidden(parameter)
        before = self._integers, self._floats
        pieces: list[Piece] = []
        fits = True
        for offset, size, floating in basic_values(parameter.type, self._types):
            piece = self._next(offset, size, floating)
            if piece is None:
                fits = False
                break
            pieces.append(piece)
        if (
            not fits or not pieces or parameter.on_stack
        ):  # what has no size counts as on the stack, and aligns it
            self._integers, self._floats = before
            # further on than ours: debug information has left out what goes before
            self._stack = max(self._stack, parameter.stack or 0)
            self._stack = _aligned(self._stack, alignment(parameter.type, self._types))
            at, self._stack = self._stack, self._stack + parameter.type.size
            return Assigned(parameter, (), at)
        return Assigned(parameter, tuple(pieces))

    def _skip_hidden(self, parameter: Parameter) -> None:
        """A register further on than ours says that a parameter went before that debug information leaves out."""
        register = parameter.register
        if register is None or register >= _DWARF_XMM0 or register >= len(FROM_DWARF):
            return
        number = FROM_DWARF[register]
        if number in INTEGER_REGISTERS:
            self._integers = max(self._integers, INTEGER_REGISTERS.index(number))

    def _next(self, offset: int, size: int, floating: bool) -> Piece | None:
        if floating:
            if self._floats == FLOAT_REGISTERS:
                return None
            self._floats += 1
            return Piece(offset, size, xmm=self._floats - 1)
        if self._integers == len(INTEGER_REGISTERS):
            return None
        self._integers += 1
        return Piece(offset, size, register=INTEGER_REGISTERS[self._integers - 1])


def basic_values(of: GoType, types: Types) -> Iterator[tuple[int, int, bool]]:
    """(offset, size, floating) of a value's parts; an array of two or more counts as more than there are registers."""
    yield from _parts(of, types, 0)


def _parts(of: GoType, types: Types, offset: int) -> Iterator[tuple[int, int, bool]]:
    kind = of.kind
    if kind in SIGNED or kind in UNSIGNED or kind == Kind.BOOL or kind in POINTERS:
        yield offset, of.size, False
    elif kind in FLOATS:
        yield offset, of.size, True
    elif kind in COMPLEXES:
        yield offset, of.size // 2, True
        yield offset + of.size // 2, of.size // 2, True
    elif kind in (Kind.STRING, Kind.INTERFACE):
        yield offset, 8, False
        yield offset + 8, 8, False
    elif kind == Kind.SLICE:
        for word in range(3):
            yield offset + 8 * word, 8, False
    elif kind == Kind.STRUCT:
        for each in of.fields:
            yield from _parts(types[each.type], types, offset + each.offset)
    elif kind == Kind.ARRAY and of.count == 1:
        yield from _parts(types[of.elem], types, offset)
    elif kind == Kind.ARRAY and of.count > 1:
        for _ in range(len(INTEGER_REGISTERS) + 1):
            yield offset, 8, False  # more than there are registers: the whole goes to the stack


def alignment(of: GoType, types: Types) -> int:
    """Bytes; of a struct its strictest field's."""
    if of.kind == Kind.STRUCT:
        return max((alignment(types[each.type], types) for each in of.fields), default=1)
    if of.kind == Kind.ARRAY:
        return alignment(types[of.elem], types)
    if of.kind in COMPLEXES:
        return of.size // 2
    return min(of.size, 8) or 1


def _aligned(offset: int, to: int) -> int:
    return (offset + to - 1) // to * to
