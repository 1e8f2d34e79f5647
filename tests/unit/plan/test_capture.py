"""What is read of arguments and results: what lies near first, and never more than fits."""

from __future__ import annotations

from collections.abc import Sequence

from undergo.goexe.maps import MapLayout
from undergo.goexe.types import Field, GoType, Kind, Parameter, Signature
from undergo.plan.capture import Asked, Capture, Limits, capture_of
from undergo.plan.labels import LabelSource
from undergo.plan.ops import MOST, PIECES, Op, OpKind
from undergo.plan.paths import Subject

INT, STRING, NODE, POINTER, STRINGS, ARRAY, MAP, CHAN, BIG, BIGS, EMPTY, EMPTIES, PARAM, FLOAT, ENTRIES = (
    range(1, 16)
)
TYPES = {
    INT: GoType("int", Kind.INT, 8),
    STRING: GoType("string", Kind.STRING, 16),
    NODE: GoType("main.Node", Kind.STRUCT, 24, fields=(Field("Name", 0, STRING), Field("Next", 16, POINTER))),
    POINTER: GoType("*main.Node", Kind.POINTER, 8, elem=NODE),
    STRINGS: GoType("[]string", Kind.SLICE, 24, elem=STRING),
    ARRAY: GoType("[9]string", Kind.ARRAY, 144, elem=STRING, count=9),
    MAP: GoType("map[string]int", Kind.MAP, 8),
    ENTRIES: GoType("map[string]int", Kind.MAP, 8, key=STRING, elem=INT),
    CHAN: GoType("chan int", Kind.CHAN, 8),
    BIG: GoType("[200]int", Kind.ARRAY, 1600, elem=INT, count=200),
    BIGS: GoType("[][200]int", Kind.SLICE, 24, elem=BIG),
    EMPTY: GoType("struct {}", Kind.STRUCT, 0),
    EMPTIES: GoType("[]struct {}", Kind.SLICE, 24, elem=EMPTY),
    PARAM: GoType("int", Kind.INT, 8, dictionary=5),
    FLOAT: GoType("float64", Kind.FLOAT64, 8),
}


def subject(signature: Signature) -> Subject:
    return Subject("main.f", signature, TYPES, MapLayout.GROUPS, LabelSource(344, False))


def captured(given: Sequence[int], results: Sequence[int] = (), limits: Limits = Limits()) -> Capture:  # noqa: B008
    """What is read at the entry of a function with these parameters."""
    parameters, back = (
        tuple(Parameter(f"p{number}", TYPES[place]) for number, place in enumerate(each))
        for each in (given, results)
    )
    entry = capture_of(subject(Signature(parameters, back)), limits, Asked(True, True)).entry
    assert entry is not None
    return entry


def test_nothing_is_read_of_numbers() -> None:
    """They are in the registers, which are always taken."""
    entry = captured([INT, FLOAT])
    assert () == entry.ops
    number, floating = entry.readings
    assert [(0, 0)] == [(part.piece, part.at) for part in number.parts]
    assert [(None, "in an XMM register")] == [(part.piece, part.why) for part in floating.parts]


def test_strings_have_a_limit() -> None:
    """Pointer and length are two registers; the limit is never more than one piece may have."""
    assert (Op(OpKind.COUNTED, 0, 0, 64, 1),) == captured([STRING]).ops
    assert (Op(OpKind.COUNTED, 0, 8, MOST, 1),) == captured([INT, STRING], limits=Limits(string=9999)).ops


def test_a_type_that_contains_itself_is_followed_to_its_depth() -> None:
    """*Node, its name and the next; then that one's. At depth 0 not even the first."""
    ops = captured([POINTER], limits=Limits(depth=2)).ops
    expected = [(OpKind.POINTED, 0), (OpKind.COUNTED, 1), (OpKind.POINTED, 1), (OpKind.COUNTED, 3)]
    assert expected == [(op.kind, op.origin) for op in ops]
    assert 8 * 2 == len(captured([POINTER], limits=Limits(depth=8)).ops)
    assert () == captured([POINTER], limits=Limits(depth=0)).ops


def test_elements_have_a_limit() -> None:
    """Of a slice so many are read and followed; of an array all are there, but only so many are followed."""
    ops = captured([STRINGS], limits=Limits(elements=2)).ops
    assert (OpKind.COUNTED, 32, 16) == (ops[0].kind, ops[0].size, ops[0].stride)
    assert [0, 16] == [op.at for op in ops[1:]]
    ops = captured([ARRAY], limits=Limits(elements=2)).ops
    assert Op(OpKind.STACK, size=144) == ops[0]
    assert [(1, 0), (1, 16)] == [(op.origin, op.at) for op in ops[1:]]
    assert {"p0": 1} == captured([STRINGS], limits=Limits(elements=0)).left_out


def test_maps_and_channels_are_only_measured() -> None:
    """The number of entries; of a channel its capacity too."""
    assert [32, 16] == [op.size for op in captured([MAP, CHAN]).ops]


def test_entries_of_maps_are_read_side_by_side() -> None:
    """As many as elements of slices; they count as far as a pointer."""
    ops = captured([ENTRIES], limits=Limits(elements=2)).ops
    assert [(OpKind.POINTED, 0), (OpKind.GROUPS, 1), (OpKind.COUNTED, 2), (OpKind.COUNTED, 2)] == [
        (op.kind, op.origin) for op in ops
    ]
    # key and element: 16 and 8 bytes, at 8 and 24 of a group, 24 from one to the next
    packed = [16 | 8 << 16, 24 | 24 << 16, 8 | 24 << 16]
    assert (16, *packed, 2, 200) == (
        ops[1].at,
        ops[1].size,
        ops[1].stride,
        ops[1].offset,
        ops[1].wanted,
        ops[1].group,
    )
    assert [0, 24] == [op.at for op in ops[2:]]
    assert 1 == len(captured([ENTRIES], limits=Limits(depth=0)).ops)
    assert 1 == len(captured([ENTRIES], limits=Limits(elements=0)).ops)


def test_what_is_too_large_is_left_out() -> None:
    """A value on the stack beyond what one piece may have, and elements as large."""
    entry = captured([INT, BIG])
    assert [MOST] == [op.size for op in entry.ops]
    assert [(None, "too large")] == [(part.piece, part.why) for part in entry.readings[1].parts]
    assert {"p0": 1} == captured([BIGS]).left_out


def test_no_more_ops_than_pieces() -> None:
    """The far ends are left out and counted; every op reads from a piece before its own."""
    entry = captured([ARRAY] * 7, limits=Limits(elements=64))
    assert ({}, 7 * 9 + 1) == (entry.left_out, len(entry.ops))
    entry = captured([STRINGS] * 3, limits=Limits(elements=64))
    assert (PIECES - 1, {"p1": 4, "p2": 64}) == (len(entry.ops), entry.left_out)
    assert [(OpKind.COUNTED, 0)] * 3 == [(op.kind, op.origin) for op in entry.ops[:3]]
    for ops in (entry.ops, captured([NODE] * 4, limits=Limits(depth=8)).ops):
        assert all(op.origin <= number for number, op in enumerate(ops))


def test_what_has_no_size_is_not_read() -> None:
    """Nor are slices of it."""
    entry = captured([EMPTY, EMPTIES])
    assert ((), {}, ()) == (entry.ops, entry.left_out, entry.readings[0].parts)


def test_type_parameters_are_named_by_the_dictionary() -> None:
    """It is a parameter that nobody wrote: it says what the others are, and what the results will be."""
    dictionary = Parameter(".dict", GoType("unsafe.Pointer", Kind.UNSAFE_POINTER, 8))
    given = (Parameter("x", TYPES[INT]), dictionary, Parameter("v", TYPES[PARAM]))
    signature = Signature(given, (Parameter("", TYPES[INT]), Parameter("", TYPES[PARAM])))
    entry = capture_of(subject(signature), Limits(), Asked(True, True)).entry
    assert entry is not None
    assert [("x", None), ("v", 1)] == [(one.parameter.name, one.named) for one in entry.readings]
    assert (None, 2) == entry.results_named
    assert [Op(OpKind.POINTED, 0, 8, 8, offset=40)] * 2 == list(entry.ops)


def test_only_what_was_asked_for() -> None:
    """Arguments, results, or neither."""
    signature = Signature((Parameter("n", TYPES[INT]),), (Parameter("", TYPES[INT]),))
    assert capture_of(subject(signature), Limits(), Asked(True, False)).exit is None
    assert capture_of(subject(signature), Limits(), Asked(False, True)).entry is None
