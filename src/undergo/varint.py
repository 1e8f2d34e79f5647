"""Numbers of seven bits a byte, least significant first: DWARF's ULEB128, Go's uvarint, protobuf's varint."""

from __future__ import annotations

LONGEST = 10  # bytes of 64 bits


def varint(data: bytes, at: int = 0) -> tuple[int, int] | None:
    """The number at a place in some bytes, and the place after it; None if it has no end there."""
    value = 0
    for count, byte in enumerate(data[at : at + LONGEST]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    return None
