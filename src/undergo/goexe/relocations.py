"""The RELATIVE relocations of a position-independent executable.

A PIE keeps its pointers as relocations with addends (RELA): in the file, the places themselves often hold 0.
Relocations in the packed RELR form keep the addend in place, so plain reading already gives it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from undergo.goexe.elf import ElfImage

_DT_NULL, _DT_RELA, _DT_RELASZ = 0, 7, 8
_RELATIVE = {"amd64": 8, "arm64": 1027}  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE
_SHT_RELA = 4
_RECORD = np.dtype([("place", "<u8"), ("info", "<u8"), ("addend", "<u8")])


@dataclass(frozen=True, slots=True)
class Relocations:
    """Places and what they point to, link-time: two uint64 arrays of equal length, sorted by place."""

    places: npt.NDArray[np.uint64]
    addends: npt.NDArray[np.uint64]

    def apply(self, address: int, data: bytes) -> bytes:
        """The bytes at an address with every pointer that lies wholly inside them filled in."""
        first, last = np.searchsorted(
            self.places, np.array([address, address + max(len(data) - 7, 0)], np.uint64)
        )
        if first >= last:
            return data
        at = (self.places[first:last] - np.uint64(address)).astype(np.int64)
        filled = np.frombuffer(data, np.uint8).copy()
        filled[at[:, None] + np.arange(8)] = (
            self.addends[first:last].astype("<u8").view(np.uint8).reshape(-1, 8)
        )
        return filled.tobytes()

    def pairs(self, first: int, second: int) -> list[int]:
        """The places that will hold `first` and, 8 bytes on, `second`."""
        found = self.places[np.flatnonzero(self.addends == np.uint64(first))]
        after = np.searchsorted(self.places, found + np.uint64(8))
        return [
            int(place)
            for place, row in zip(found, after, strict=True)
            if row < len(self.places)
            and self.places[row] == place + np.uint64(8)
            and int(self.addends[row]) == second
        ]


def read_relocations(elf: ElfImage) -> Relocations:
    """Read them by DT_RELA, or by the sections where there is no dynamic table. Raises TruncatedError."""
    empty = np.empty(0, np.uint64)
    if not elf.pie:
        return Relocations(empty, empty)
    data = _by_dynamic_table(elf)
    if not data:
        data = b"".join(
            _whole(elf.read_section(s)) for s in elf.sections if s.type == _SHT_RELA and s.address
        )
    records = np.frombuffer(_whole(data), _RECORD)
    records = records[(records["info"] & 0xFFFFFFFF) == _RELATIVE[elf.machine]]
    order = np.argsort(records["place"], kind="stable")
    return Relocations(records["place"][order].astype(np.uint64), records["addend"][order].astype(np.uint64))


def _whole(data: bytes) -> bytes:
    return data[: len(data) // _RECORD.itemsize * _RECORD.itemsize]


def _by_dynamic_table(elf: ElfImage) -> bytes:
    if elf.dynamic_table is None:
        return b""
    address, size = elf.dynamic_table
    values: dict[int, int] = {}
    for tag, value in struct.iter_unpack("<QQ", elf.read(address, min(size, 1 << 16) // 16 * 16)):
        if tag == _DT_NULL:
            break
        values[tag] = value
    if not values.get(_DT_RELASZ):
        return b""
    return elf.read(values.get(_DT_RELA, 0), values[_DT_RELASZ])
