"""Protobuf's wire format: single messages, and many of the same shape at once.

Rows of one shape are made as one array of bytes: numbers become varints of a fixed width, padded with continuation
bits, which every reader takes. That is twenty times as fast as message after message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_LENGTH_WIDTH: Final = 4  # bytes of the length of a message in rows


def varint(value: int) -> bytes:
    """A number as a varint; negative ones in two's complement, as int32 and int64 are."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def number(field: int, value: int) -> bytes:
    """A field that is a varint."""
    return varint(field << 3 | _VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of type fixed64."""
    return varint(field << 3 | _FIXED64) + value.to_bytes(8, "little")


def packed(field: int, values: Sequence[int]) -> bytes:
    """A packed repeated field of varints."""
    return data(field, b"".join(map(varint, values)))


def data(field: int, value: bytes) -> bytes:
    """A field that is bytes, or a message."""
    return varint(field << 3 | _BYTES) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """A field that is a string; what is no valid UTF-8 is replaced, as readers demand."""
    return data(field, value.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers not below zero, one per row, as padded varints of `width` bytes."""

    values: Ints
    width: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """Numbers of 64 bits, one per row."""

    values: Ints


#: Part of every row: the same in all of them, or a column.
Part = bytes | Column | Fixed


def column(values: Ints) -> Column:
    """A column as wide as its largest number needs."""
    largest = int(values.max()) if len(values) else 0
    return Column(values, max(1, -(-largest.bit_length() // 7)))


def number_column(field: int, values: Ints) -> list[Part]:
    """A field that is a varint."""
    return [varint(field << 3 | _VARINT), column(values)]


def fixed_column(field: int, values: Ints) -> list[Part]:
    """A field of type fixed64."""
    return [varint(field << 3 | _FIXED64), Fixed(values)]


def nested(field: int, parts: Sequence[Part], extra: Ints | None = None) -> list[Part]:
    """A field that is a message; `extra` bytes per row, appended to the row afterwards, belong to it."""
    width = sum(map(_width, parts))
    tag = varint(field << 3 | _BYTES)
    if extra is None:
        return [tag, varint(width), *parts]
    return [tag, Column(extra + width, _LENGTH_WIDTH), *parts]


def rows(count: int, parts: Sequence[Part]) -> Bytes:
    """All rows, each as many bytes as the others."""
    template = b"".join(part if isinstance(part, bytes) else bytes(_width(part)) for part in parts)
    found = np.empty((count, len(template)), np.uint8)
    found[:] = np.frombuffer(template, np.uint8)
    at = 0
    for part in parts:
        if isinstance(part, Fixed):
            _store(found, at, part.values.view(np.uint64), 8)
        elif isinstance(part, Column):
            low = min(part.width, 8)
            _store(found, at, _spread(part.values, low, part.width > low), low)
            if part.width > low:
                _store(found, at + low, (part.values >> 56).view(np.uint64), 1)
        at += _width(part)
    return found


#: Where groups of seven bits of a number of so many bytes come apart: bits that stay, bits that move, how far.
_SPREAD: Final = {
    2: ((0x7F, 0x3F80, 1),),
    4: ((0x3FFF, 0xFFFC000, 2), (0x7F007F, 0x3F803F80, 1)),
    8: (
        (0xFFFFFFF, 0xFFFFFFF0000000, 4),
        (0x3FFF00003FFF, 0xFFFC0000FFFC000, 2),
        (0x7F007F007F007F, 0x3F803F803F803F80, 1),
    ),
}


def _spread(values: Ints, width: int, more: bool) -> npt.NDArray[Any]:
    """The first bytes of varints, up to eight; `more` if others follow. All bytes of a word at once."""
    size = next(size for size in (1, 2, 4, 8) if size >= width)
    words = values.astype(f"<u{size}")
    for stay, move, bits in _SPREAD.get(size, ()):
        moved = words & move
        moved <<= bits
        words &= stay
        words |= moved
    words |= int.from_bytes(bytes([0x80]) * (width if more else width - 1), "little")
    return words


def _store(found: Bytes, at: int, words: npt.NDArray[Any], width: int) -> None:
    """Puts so many bytes of each word into each row."""
    done = 0
    for size in (8, 4, 2, 1):
        if width - done >= size:
            column = np.ndarray(len(found), f"<u{size}", found, at + done, (found.shape[1],))
            column[:] = words >> (8 * done) if done else words
            done += size


def laid_out(size: int, parts: Sequence[tuple[Bytes, Ints]]) -> Bytes:
    """So many bytes, with the rows of each part at their offsets. What is between them is left open."""
    found = np.empty(size, np.uint8)
    for array, offsets in parts:
        width = array.shape[1]
        if len(array):
            # as if a row began at every byte: numpy then copies whole rows
            slots = np.ndarray(size - width + 1, f"V{width}", found, strides=(1,))
            slots[offsets] = array.view(f"V{width}").ravel()
    return found


def _width(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else 8 if isinstance(part, Fixed) else part.width
