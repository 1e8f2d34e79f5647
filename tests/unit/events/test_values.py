"""Pieces that the kernel leaves become values, and what is not there is missing rather than wrong."""

from __future__ import annotations

import struct
from typing import cast

import numpy as np
import pytest

from undergo.events.values import (
    Captured,
    CaptureDecoder,
    Entries,
    Func,
    Missing,
    PieceState,
    Pointer,
    Runtime,
    Scalar,
    Several,
    Sized,
    Struct,
    Text,
    Value,
)
from undergo.goexe.maps import MapLayout
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.types import Field, GoType, Kind, Parameter, Signature
from undergo.plan.capture import Asked, Limits, capture_of
from undergo.plan.labels import LabelSource
from undergo.plan.paths import Subject

INT, INT8, STRING, BYTE, BYTES, POINTER, ITEM, MAP, CHAN, FUNC, COMPLEX, PAIR, TRIPLE, MANY = range(1, 15)
EMPTY, EMPTIES, FLOAT, MIXED, PARAM, STRINGS, TO_POINTER, ONE, NONE, ENTRIES = range(15, 25)
TYPES = {
    INT: GoType("int", Kind.INT, 8),
    INT8: GoType("int8", Kind.INT8, 1),
    STRING: GoType("string", Kind.STRING, 16),
    BYTE: GoType("uint8", Kind.UINT8, 1),
    BYTES: GoType("[]uint8", Kind.SLICE, 24, elem=BYTE),
    POINTER: GoType("*main.Item", Kind.POINTER, 8, elem=ITEM),
    ITEM: GoType("main.Item", Kind.STRUCT, 16, fields=(Field("A", 0, INT8), Field("B", 8, INT))),
    MAP: GoType("map[string]int", Kind.MAP, 8),
    ENTRIES: GoType("map[string]main.Item", Kind.MAP, 8, key=STRING, elem=ITEM),
    CHAN: GoType("chan int", Kind.CHAN, 8),
    FUNC: GoType("func()", Kind.FUNC, 8),
    COMPLEX: GoType("complex64", Kind.COMPLEX64, 8),
    PAIR: GoType("[2]complex64", Kind.ARRAY, 16, elem=COMPLEX, count=2),
    TRIPLE: GoType("[3]uint8", Kind.ARRAY, 3, elem=BYTE, count=3),
    MANY: GoType("[]main.Item", Kind.SLICE, 24, elem=ITEM),
    EMPTY: GoType("struct {}", Kind.STRUCT, 0),
    EMPTIES: GoType("[]struct {}", Kind.SLICE, 24, elem=EMPTY),
    FLOAT: GoType("float64", Kind.FLOAT64, 8),
    MIXED: GoType("main.Mixed", Kind.STRUCT, 16, fields=(Field("F", 0, FLOAT), Field("N", 8, INT))),
    PARAM: GoType("int", Kind.INT, 8, dictionary=0),
    STRINGS: GoType("[]string", Kind.SLICE, 24, elem=STRING),
    TO_POINTER: GoType("**main.Item", Kind.POINTER, 8, elem=POINTER),
    ONE: GoType("[1]main.Mixed", Kind.ARRAY, 16, elem=MIXED, count=1),
    NONE: GoType("[0]int", Kind.ARRAY, 0, elem=INT),
}
RECORD = np.dtype(
    [
        ("id", "<u8"),
        ("bias", "<u8"),
        ("func", "<u4"),
        ("at_exit", "<u2"),
        ("pieces", "<u2"),
        ("bytes", "u1", 64),
    ]
)
BIAS = 0x1000
READ, NIL, UNREADABLE, ABSENT, NO_ROOM = PieceState
Piece = tuple[PieceState, bytes]


def subject(signature: Signature) -> Subject:
    return Subject("main.f", signature, TYPES, MapLayout.GROUPS, LabelSource(344, False))


class Names:
    """Types and functions by their addresses as linked."""

    def name(self, address: int) -> str:
        """One type is known."""
        return {0x500: "main.ID"}.get(address, "")


def decoder(given: list[int], results: list[int], dictionary: bool = False) -> CaptureDecoder:
    """Of one function, number 7."""
    hidden = [Parameter(".dict", GoType("unsafe.Pointer", Kind.UNSAFE_POINTER, 8))] if dictionary else []
    parameters = [*hidden, *(Parameter(f"p{n}", TYPES[place]) for n, place in enumerate(given))]
    signature = Signature(tuple(parameters), tuple(Parameter("", TYPES[place]) for place in results))
    capture = capture_of(subject(signature), Limits(), Asked(True, True))
    runtime = Runtime(cast(RuntimeTypes, Names()), MapLayout.GROUPS, {0x400: "main.f"}.get)  # type: ignore[arg-type]
    return CaptureDecoder({7: (capture, TYPES, runtime)}, RECORD)


def record(
    pieces: list[Piece], registers: tuple[int, ...] = (), at_exit: bool = False, func: int = 7
) -> bytes:
    """struct capture_record; the first piece has the registers."""
    whole = struct.pack("<9Q", *(number & (1 << 64) - 1 for number in (*registers, *[0] * 9)[:9]))
    packed = b"".join(
        struct.pack("<II", len(data), state) + data + bytes(-len(data) % 8)
        for state, data in [(READ, whole), *pieces]
    )
    return struct.pack("<QQIHH", 1, BIAS, func, at_exit, len(pieces) + 1) + packed


def value(of: int, registers: tuple[int, ...], *pieces: Piece) -> Value:
    """The value of the only argument."""
    (found,) = decoder([of], []).feed([record(list(pieces), registers)])
    return found.arguments[0].value


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


@pytest.mark.parametrize(
    ("of", "registers", "pieces", "expected"),
    [
        (INT, (-5,), [], Scalar(-5)),
        (INT8, (0xFFFFFFFFFFFFFF80,), [], Scalar(-128)),  # what is above it in the register is not its
        (BYTE, (0xFFFFFFFFFFFFFF80,), [], Scalar(128)),
        (STRING, (0, 0), [(READ, b"")], Text(b"", 0)),
        (STRING, (16, 9), [(READ, b"abc")], Text(b"abc", 9)),
        (STRING, (16, 3), [(UNREADABLE, b"")], Missing("not resident")),
        (STRING, (16, 3), [(NO_ROOM, b"")], Missing("too much for one event")),
        (STRING, (16, 3), [], Missing("too much for one event")),  # the record ends before
        (STRING, (16, 1 << 50), [(UNREADABLE, b"")], Missing("not a length that can be")),
        (BYTES, (0, 0, 0), [(NIL, b"")], None),
        (BYTES, (16, 0, 0), [(READ, b"")], Text(b"", 0)),
        (BYTES, (16, 2, 2), [(READ, b"\xff\x00")], Text(b"\xff\x00", 2)),
        (STRINGS, (16, 0, 8), [(READ, b"")], Several((), 0)),
        (EMPTIES, (16, 4, 4), [], Several((), 4)),
        (POINTER, (0,), [(NIL, b"")], None),
        (POINTER, (16,), [(UNREADABLE, b"")], Pointer(16, Missing("not resident"), True)),
        (
            POINTER,
            (16,),
            [(READ, words(0xFF, 3))],
            Pointer(16, Struct((("A", Scalar(-1)), ("B", Scalar(3)))), True),
        ),
        (
            POINTER,
            (16,),
            [(READ, words(1))],  # cut off
            Pointer(16, Struct((("A", Scalar(1)), ("B", Missing("not read")))), True),
        ),
        (TO_POINTER, (16,), [(READ, words(0)), (NIL, b"")], Pointer(16, None, True)),
        (
            MANY,
            (16, 1, 1),
            [(READ, words(1, 2))],
            Several((Struct((("A", Scalar(1)), ("B", Scalar(2)))),), 1),
        ),
        (MAP, (0,), [(NIL, b"")], None),
        (MAP, (16,), [(READ, words(3))], Sized(3)),
        (MAP, (16,), [(UNREADABLE, b"")], Missing("not resident")),
        (ENTRIES, (0,), [(NIL, b"")], None),
        (ENTRIES, (16,), [(READ, words(0, 0, 0, 0)), (NIL, b"")], Entries((), 0)),
        (
            ENTRIES,
            (16,),
            [(READ, words(5, 0, 16, 0)), (READ, words(16, 2, 7, 8)), (READ, b"ab")],
            Entries(((Text(b"ab", 2), Struct((("A", Scalar(7)), ("B", Scalar(8))))),), 5),
        ),
        (ENTRIES, (16,), [(READ, words(5, 0, 16, 0)), (UNREADABLE, b"")], Sized(5)),
        (ENTRIES, (16,), [(UNREADABLE, b"")], Missing("not resident")),
        (CHAN, (16,), [(READ, words(1, 5))], Sized(1, 5)),
        (FUNC, (16,), [(READ, words(0x400 + BIAS))], Func("main.f")),
        (COMPLEX, (), [], Missing("in an XMM register")),
        (FLOAT, (), [], Missing("in an XMM register")),
        (MIXED, (4,), [], Struct((("F", Missing("in an XMM register")), ("N", Scalar(4))))),
        (ONE, (4,), [], Several((Struct((("F", Missing("in an XMM register")), ("N", Scalar(4)))),), 1)),
        (
            PAIR,
            (),
            [(READ, struct.pack("<4f", 1, 2, 3, -0.5))],
            Several((Scalar(1 + 2j), Scalar(3 - 0.5j)), 2),
        ),
        (PAIR, (), [(UNREADABLE, b"")], Missing("not resident")),
        (TRIPLE, (), [(READ, b"abc")], Text(b"abc", 3)),
        (NONE, (), [], Several((), 0)),
        (EMPTY, (), [], Struct(())),
    ],
)
def test_values(of: int, registers: tuple[int, ...], pieces: list[Piece], expected: Value) -> None:
    """One argument, from the registers and what its pointers lead to."""
    assert expected == value(of, registers, *pieces)


def test_short_and_foreign_records() -> None:
    """Records that are cut in their head, or of functions nobody asked about, are passed over."""
    whole = record([], (1,))
    of = decoder([INT], [])
    assert [] == list(of.feed([b"", whole[:10], record([], func=8)]))
    (found,) = of.feed([whole[:24]])
    assert Missing("too much for one event") == found.arguments[0].value
    (found,) = of.feed([whole[:40]])  # the registers are cut
    assert Scalar(1) == found.arguments[0].value


def test_entry_and_exit() -> None:
    """Which of the two it is, the record says."""
    entry, at_exit = decoder([INT], [INT, INT]).feed([record([], (1,)), record([], (2, 3), at_exit=True)])
    assert [(False, 1, [1]), (True, 1, [2, 3])] == [_numbers(one) for one in (entry, at_exit)]


def _numbers(one: Captured) -> tuple[bool, int, list[object]]:
    return one.at_exit, one.id, [cast(Scalar, argument.value).value for argument in one.arguments]


def test_type_parameters_have_their_names() -> None:
    """The dictionary is read at entry; the names of the results are kept until they come."""
    of = decoder([PARAM], [PARAM, INT], dictionary=True)
    entry = record([(READ, words(0x500 + BIAS)), (READ, words(0x500 + BIAS))], (16, 1))
    given, back = of.feed([entry, record([], (2, 3), at_exit=True)])
    assert [("main.ID", Scalar(1))] == [(one.type.name, one.value) for one in given.arguments]
    assert ["main.ID", "int"] == [one.type.name for one in back.arguments]
    (given,) = of.feed([record([(UNREADABLE, b""), (UNREADABLE, b"")], (16, 1))])
    assert ["int"] == [one.type.name for one in given.arguments]
