"""runtime.firstmoduledata: where text starts, and where funcdata is.

It is found without symbols as the one place that holds the two pointers {pclntab, pclntab +
funcnameOffset}: its first words, `pcHeader` and `funcnametab.ptr` (runtime/symtab.go, 1.17 to 1.27). In a
PIE they are relocations.
"""

from __future__ import annotations

from dataclasses import dataclass

from undergo.errors import TruncatedError
from undergo.goexe.elf import ElfImage
from undergo.goexe.pclntab import Pclntab

_MINPC, _TEXT, _ETEXT = 160, 176, 184  # the same from 1.17 to 1.27
_TYPES = (((1, 20), 296), ((1, 17), 280))
_GOFUNC = (((1, 27), 344), ((1, 20), 320), ((1, 18), 304))
_SCAN_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class ModuleData:
    """Link-time virtual addresses out of runtime.firstmoduledata."""

    address: int
    found: str  # "section .go.module", "scan" or "relocations"
    text: int  # first byte of Go code (runtime.text)
    end_text: int
    gofunc: int  # what FUNCDATA offsets count from; 0 up to 1.17, where they are pointers
    types: int = 0  # what offsets of names in type descriptors count from


def find_moduledata(elf: ElfImage, table: Pclntab, version: tuple[int, int]) -> ModuleData:
    """Find it. Raises TruncatedError if there is none, or more than one that could be it."""
    found: dict[int, str] = {}
    first, second = table.address, table.address + table.names
    section = elf.section(".go.module")
    if section is not None and min(section.size, elf.available(section.address)) >= 16:
        pointers = elf.pointer(section.address), elf.pointer(section.address + 8)
        if pointers == (first, second):
            found[section.address] = "section .go.module"
    if not found and elf.pie:
        found.update((place, "relocations") for place in elf.relocations.pairs(first, second))
    if not found:
        found.update(
            (place, "scan")
            for place in _scan(elf, first.to_bytes(8, "little") + second.to_bytes(8, "little"))
        )
    candidates = [m for place, how in found.items() if (m := _read(elf, place, how, version)) is not None]
    if len(candidates) != 1:
        what = "not in it" if not candidates else f"ambiguous ({len(candidates)} candidates)"
        raise TruncatedError(
            f"{elf.display}: Go's module data is {what}", "the file may be damaged or packed"
        )
    return candidates[0]


def _read(elf: ElfImage, address: int, found: str, version: tuple[int, int]) -> ModuleData | None:
    """The module data at an address, None if what is there cannot be one."""
    offset = next((offset for since, offset in _GOFUNC if version >= since), None)
    if elf.available(address) < (offset or _ETEXT) + 8:
        return None
    low, high, text, end = (elf.pointer(address + at) for at in (_MINPC, _MINPC + 8, _TEXT, _ETEXT))
    if not (low < high and text < end and text <= low):
        return None
    if elf.segment_of(text) is None:
        return None
    types = next(offset for since, offset in _TYPES if version >= since)
    types = elf.pointer(address + types) if elf.available(address) >= types + 8 else 0
    return ModuleData(address, found, text, end, elf.pointer(address + offset) if offset else 0, types)


def _scan(elf: ElfImage, pattern: bytes) -> list[int]:
    found = []
    for segment in elf.segments:
        if not segment.writable:
            continue
        for start in range(0, segment.file_size, _SCAN_CHUNK):
            data = elf.read_file(segment.offset + start, min(_SCAN_CHUNK + 15, segment.file_size - start))
            at = data.find(pattern)
            while at >= 0:
                if (segment.address + start + at) % 8 == 0:
                    found.append(segment.address + start + at)
                at = data.find(pattern, at + 1)
    return sorted(set(found))
