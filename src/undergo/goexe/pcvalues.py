"""Tables of values by pc: (value delta, pc delta) varint pairs, ended by a 0 (runtime/symtab.go `step`)."""

from __future__ import annotations

from undergo.errors import TruncatedError

Range = tuple[int, int, int]  # start pc, end pc (exclusive), value


def decode(data: bytes, offset: int, entry: int, limit: int, quantum: int) -> list[Range]:
    """The ranges of one table, from pc `entry` on, none beyond `limit`. Raises TruncatedError.

    `offset` is the table's place in `data`. The first delta counts from -1 and may be 0; later a 0 ends it.
    """
    ranges: list[Range] = []
    pc, value = entry, -1
    try:
        while True:
            delta = data[offset]
            offset += 1
            if delta & 0x80:
                delta, offset = _varint(data, offset - 1)
            if not delta and ranges:
                return ranges
            value += -(delta >> 1) - 1 if delta & 1 else delta >> 1
            step = data[offset]
            offset += 1
            if step & 0x80:
                step, offset = _varint(data, offset - 1)
            end = pc + step * quantum
            if not step or end > limit:
                raise TruncatedError(
                    f"a pc table runs from {pc:#x} to {end:#x}, past its function's end {limit:#x}"
                )
            ranges.append((pc, end, value))
            pc = end
    except IndexError:
        raise TruncatedError("a pc table runs past the end of the function table") from None


def first_value(data: bytes, offset: int) -> int:
    """The value at the function's entry, without decoding the rest. Raises TruncatedError."""
    try:
        delta, _ = _varint(data, offset)
    except IndexError:
        raise TruncatedError("a pc table runs past the end of the function table") from None
    return -1 + (-(delta >> 1) - 1 if delta & 1 else delta >> 1)


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 35:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
    raise TruncatedError("a pc table holds a number of more than 32 bits")
