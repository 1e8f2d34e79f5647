"""Values as Go would write them, and as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undergo.events.values import (
    Argument,
    Func,
    Missing,
    Pointer,
    Scalar,
    Several,
    Sized,
    Struct,
    Text,
    Value,
)
from undergo.goexe.types import Field, GoType, Kind
from undergo.views.style import quote
from undergo.views.values import arguments, duration, encoded, results, short, text

INT, STRING, BYTES, BYTE, FLOAT, ITEM, POINTER, TIME, MAP, CHAN, FUNC, INTS, NAMED, DURATION, WORD = range(
    1, 16
)
ARRAY, TO_POINTER = 16, 17
TYPES = {
    INT: GoType("int", Kind.INT, 8),
    STRING: GoType("string", Kind.STRING, 16),
    BYTE: GoType("uint8", Kind.UINT8, 1),
    BYTES: GoType("[]uint8", Kind.SLICE, 24, elem=BYTE),
    FLOAT: GoType("float64", Kind.FLOAT64, 8),
    ITEM: GoType(
        "example.com/a/shop.Item", Kind.STRUCT, 24, fields=(Field("SKU", 0, STRING), Field("N", 16, INT))
    ),
    POINTER: GoType("*example.com/a/shop.Item", Kind.POINTER, 8, elem=ITEM),
    TIME: GoType("time.Time", Kind.STRUCT, 24, fields=(Field("wall", 0, INT), Field("ext", 8, INT))),
    MAP: GoType("map[string]int", Kind.MAP, 8),
    CHAN: GoType("chan int", Kind.CHAN, 8),
    FUNC: GoType("func()", Kind.FUNC, 8),
    INTS: GoType("[]int", Kind.SLICE, 24, elem=INT),
    NAMED: GoType("example.com/shop.Name", Kind.STRING, 16),
    DURATION: GoType("time.Duration", Kind.INT64, 8),
    WORD: GoType("uintptr", Kind.UINTPTR, 8),
    ARRAY: GoType("[2]int", Kind.ARRAY, 16, elem=INT, count=2),
    TO_POINTER: GoType("**example.com/a/shop.Item", Kind.POINTER, 8, elem=POINTER),
}
APPLE = Struct((("SKU", Text(b"x", 1)), ("N", Scalar(2))))
UNIX = 62_135_596_800  # seconds from year 1 to 1970


@pytest.mark.parametrize(
    ("value", "of", "expected"),
    [
        (None, POINTER, "nil"),
        (Missing("not resident"), STRING, "<not resident>"),
        (Scalar(True), INT, "true"),
        (Scalar(-5), INT, "-5"),
        (Scalar(1 << 63), INT, "9223372036854775808"),
        (Scalar(255), WORD, "0xff"),
        (Scalar(1.0), FLOAT, "1.0"),
        (Scalar(1e300), FLOAT, "1e+300"),
        (Scalar(math.nan), FLOAT, "nan"),
        (Scalar(-math.inf), FLOAT, "-inf"),
        (Scalar(1.5 - 2j), FLOAT, "(1.5-2.0i)"),
        (Scalar(1_500_000_000), DURATION, "1.5s"),
        (Text(b"hi", 2), STRING, '"hi"'),
        (Text(b"hi", 2000), STRING, '"hi"… <2 of 2,000 bytes>'),
        (Text(b"hi", 2), BYTES, '[]uint8("hi")'),
        (APPLE, ITEM, 'shop.Item{SKU:"x", N:2}'),
        (Pointer(16, APPLE, True), POINTER, '&shop.Item{SKU:"x", N:2}'),
        (Pointer(16), POINTER, "0x10"),
        (Pointer(16, None, True), TO_POINTER, "0x10 -> nil"),
        (Several((Scalar(1), Scalar(2)), 9), INTS, "[]int{len 9: 1, 2, …}"),
        (Several((), 0), INTS, "[]int{}"),
        (Several((Scalar(1), Scalar(2)), 2), ARRAY, "[2]int{1, 2}"),
        (Sized(1234), MAP, "map[string]int{len 1,234}"),
        (Sized(1, 3), CHAN, "chan int{len 1, cap 3}"),
        (Func("main.f\x1b"), FUNC, "main.f\\x1b"),
        (Func(""), FUNC, "<unknown function>"),
    ],
)
def test_as_go_writes_it(value: Value, of: int, expected: str) -> None:
    """One value of each kind."""
    assert expected == text(value, TYPES[of], TYPES)


@pytest.mark.parametrize(
    ("wall", "ext", "expected"),
    [
        (0, 0, "time.Time{}"),
        (5, UNIX, "1970-01-01T00:00:00.000000005Z"),
        (0, 1_700_000_000 + UNIX, "2023-11-14T22:13:20Z"),
        # with a monotonic clock: seconds since 1885 in wall
        (1 << 63 | (1_700_000_000 + 2_682_288_000) << 30 | 500_000_000, 77, "2023-11-14T22:13:20.5Z"),
        (0, 1 << 62, "time.Time{ext:4611686018427387904}"),
    ],
)
def test_times(wall: int, ext: int, expected: str) -> None:
    """In UTC; what no calendar has is shown as the struct it is."""
    value = Struct((("wall", Scalar(wall)), ("ext", Scalar(ext))))
    assert expected == text(value, TYPES[TIME], TYPES)
    assert not expected.endswith("Z") or expected == encoded(value, TYPES[TIME], TYPES)


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "0s"),
        (1, "1ns"),
        (-1, "-1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (4 * 60 * 10**9 + 5 * 10**9, "4m5s"),
        (5 * 3600 * 10**9 + 6 * 60 * 10**9 + 7_001_000_000, "5h6m7.001s"),
        (3600 * 10**9, "1h0m0s"),
        (-(1 << 63), "-2562047h47m16.854775808s"),
        ((1 << 63) - 1, "2562047h47m16.854775807s"),
    ],
)
def test_durations(ns: int, expected: str) -> None:
    """As Go's own String."""
    assert expected == duration(ns)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'"\\', r'"\"\\"'),
        (b"\n\t\r", r'"\n\t\r"'),
        (b"\x1b[31m\x00\x7f", r'"\x1b[31m\x00\x7f"'),
        (b"a\xff\xc3", r'"a\xff\xc3"'),
        ("é€😀".encode(), '"é€😀"'),
        ("\u202e\u2028".encode(), r'"\u202e\u2028"'),
    ],
)
def test_quotes(raw: bytes, expected: str) -> None:
    """Whatever could act on a terminal is escaped, as are bytes that are no UTF-8."""
    assert expected == quote(raw)


@given(st.binary())
def test_what_is_quoted_is_printable(raw: bytes) -> None:
    """Any bytes."""
    assert quote(raw).isprintable()


@pytest.mark.parametrize(
    ("value", "of", "expected"),
    [
        (None, POINTER, None),
        (Missing("not read"), STRING, {"missing": "not read"}),
        (Scalar(False), INT, False),
        (Scalar(1 << 53), INT, 1 << 53),
        (Scalar((1 << 53) + 1), INT, "9007199254740993"),
        (Scalar(-(1 << 63)), INT, "-9223372036854775808"),
        (Scalar(math.nan), FLOAT, "nan"),
        (Scalar(math.inf), FLOAT, "inf"),
        (Scalar(complex(1, -math.inf)), FLOAT, [1.0, "-inf"]),
        (Text(b"", 0), BYTES, ""),
        (Text("é".encode(), 2), STRING, "é"),
        (Text("aé".encode()[:2], 3), STRING, {"text": "a", "length": 3}),  # cut in a character
        (Text(b"a\xc3", 2), STRING, {"base64": "YcM=", "length": 2}),
        (Text(b"\xffabcdef", 99), STRING, {"base64": "/2FiY2RlZg==", "length": 99}),
        (APPLE, ITEM, {"SKU": "x", "N": 2}),
        (Pointer(16), POINTER, {"pointer": "0x10"}),
        (Pointer(16, None, True), TO_POINTER, {"pointer": "0x10", "value": None}),
        (Several((Scalar(1),), 1), INTS, [1]),
        (Several((Scalar(1),), 9), INTS, {"items": [1], "length": 9}),
        (Sized(2), MAP, {"length": 2}),
        (Sized(1, 3), CHAN, {"length": 1, "capacity": 3}),
        (Func("main.f"), FUNC, {"function": "main.f"}),
    ],
)
def test_json(value: Value, of: int, expected: Any) -> None:
    """One value of each kind."""
    assert expected == encoded(value, TYPES[of], TYPES)


SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(), st.complex_numbers()).map(Scalar)
TEXTS = st.tuples(st.binary(max_size=20), st.integers(0, 30)).map(lambda p: Text(p[0], max(len(p[0]), p[1])))


@given(st.one_of(SCALARS, TEXTS))
def test_json_is_always_valid(value: Value) -> None:
    """Whatever the bytes and numbers are, a strict reader takes it."""
    shown = encoded(value, TYPES[STRING], TYPES)
    line = json.dumps(shown, allow_nan=False)
    assert shown == json.loads(line)
    assert text(value, TYPES[STRING], TYPES).isprintable()


def test_lists() -> None:
    """Arguments have names, `_` if none; results have them where they are named."""
    one, two = Argument("n", TYPES[INT], Scalar(1)), Argument("", TYPES[STRING], Text(b"x", 1))
    assert 'n=1, _="x"' == arguments([one, two], TYPES)
    assert '"x"' == results([two], TYPES)
    assert "(n=1)" == results([one], TYPES)
    assert '(n=1, "x")' == results([one, two], TYPES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("*example.com/shop.Item", "*shop.Item"),
        ("map[example.com/a.K][]example.com/b-c/v2.V", "map[a.K][]v2.V"),
        ("func(net/http.Handler) error", "func(http.Handler) error"),
        ("main.Pair[string,example.com/a.B]", "main.Pair[string,a.B]"),
    ],
)
def test_short_names(name: str, expected: str) -> None:
    """The path before a package is left out, also within a type."""
    assert expected == short(name)
