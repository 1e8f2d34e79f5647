"""Many messages at once are the same as one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undergo.exports import protobuf as pb


def decoded(data: bytes) -> int:
    """A varint, by the definition; all bytes but the last one say that more follow."""
    assert all(byte & 0x80 for byte in data[:-1]) and not data[-1] & 0x80
    return sum((byte & 0x7F) << (7 * at) for at, byte in enumerate(data))


@given(st.integers(1, 63).flatmap(lambda bits: st.lists(st.integers(0, (1 << bits) - 1), min_size=1)))
def test_columns_are_varints_of_one_width(numbers: list[int]) -> None:
    """As wide as the largest one needs, and each between bytes that stay as they are."""
    column = pb.column(np.array(numbers, np.int64))
    found = pb.rows(len(numbers), [b"<", column, b">"])
    assert len(pb.varint(max(numbers))) == column.width
    assert numbers == [decoded(row.tobytes()[1:-1]) for row in found]
    assert {(b"<", b">")} == {(row.tobytes()[:1], row.tobytes()[-1:]) for row in found}


@pytest.mark.parametrize("width", range(1, 10))
def test_small_numbers_in_wide_columns(width: int) -> None:
    """Padding with continuation bits is still the number."""
    found = pb.rows(3, [pb.Column(np.array([0, 1, 127], np.int64), width)])
    assert [0, 1, 127] == [decoded(row.tobytes()) for row in found]


def test_fixed_numbers_are_little_endian() -> None:
    """Negative ones in two's complement."""
    found = pb.rows(2, [b"<", pb.Fixed(np.array([-2, 258], np.int64))])
    assert b"<\xfe" + b"\xff" * 7 + b"<\x02\x01" + b"\0" * 6 == found.tobytes()


@given(st.permutations([0] * 3 + [1] * 4))
def test_rows_of_two_widths_side_by_side(kinds: list[int]) -> None:
    """In any order, also at the very end."""
    texts = [[b"abc", b"def", b"ghi"], [b"1", b"2", b"3", b"4"]]
    ends = np.cumsum([len(texts[kind][0]) for kind in kinds])
    expected, parts = b"", []
    iterators = [iter(texts[0]), iter(texts[1])]
    for kind in kinds:
        expected += next(iterators[kind])
    for kind in (0, 1):
        array = np.array([list(text) for text in texts[kind]], np.uint8)
        at = np.array([end - array.shape[1] for end, of in zip(ends, kinds, strict=True) if of == kind])
        parts.append((array, at))
    assert expected == pb.laid_out(len(expected), parts).tobytes()
