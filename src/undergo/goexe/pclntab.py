"""The header of the function table (pclntab), and where it is.

Layouts as written by cmd/link/internal/ld/pcln.go and read by runtime/symtab.go:

    magic       Go          text start    functab entries   _func
    fffffffa    1.16, 1.17  none          pointer, pointer  entry is a pointer
    fffffff0    1.18, 1.19  +24           u32, u32          entry is an offset from the text start
    fffffff1    1.20 on     +24, 0 from 1.26                the same, with the start line

All offsets in the header count from its first byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from undergo.errors import GoVersionError, TruncatedError
from undergo.goexe.elf import ElfImage

MAGIC_1_2, MAGIC_1_16, MAGIC_1_18, MAGIC_1_20 = 0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1

_SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
_QUANTUM = {"amd64": 1, "arm64": 4}
_HEADER = 72
_SCAN_CHUNK = 1 << 24
_MOST_FUNCTIONS = 1 << 24


@dataclass(frozen=True, slots=True)
class FuncShape:
    """Where the fields of a `_func` record are, in 4-byte words from its start; -1: not there."""

    name: int
    deferreturn: int
    pcsp: int
    pcfile: int
    pcln: int
    npcdata: int
    cu: int
    start_line: int
    kind: int  # funcID, flag, padding, nfuncdata: one byte each
    words: int  # the fixed part; the pcdata offsets follow


_SHAPE_1_17 = FuncShape(
    name=2, deferreturn=4, pcsp=5, pcfile=6, pcln=7, npcdata=8, cu=9, start_line=-1, kind=10, words=11
)
_SHAPE_1_18 = FuncShape(
    name=1, deferreturn=3, pcsp=4, pcfile=5, pcln=6, npcdata=7, cu=8, start_line=-1, kind=9, words=10
)
_SHAPE_1_20 = FuncShape(
    name=1, deferreturn=3, pcsp=4, pcfile=5, pcln=6, npcdata=7, cu=8, start_line=9, kind=10, words=11
)
_SHAPES = {MAGIC_1_16: _SHAPE_1_17, MAGIC_1_18: _SHAPE_1_18, MAGIC_1_20: _SHAPE_1_20}


@dataclass(frozen=True, slots=True)
class Pclntab:
    """The table's header and its bytes; offsets in bytes from the start of `data`."""

    address: int  # link-time virtual address
    found: str  # "section .gopclntab", "section .data.rel.ro.gopclntab" or "scan"
    magic: int
    quantum: int  # bytes per unit of pc
    functions: int  # rows of functab, the closing one not counted
    files: int
    text_start: int  # 0: ask moduledata
    names: int
    units: int
    paths: int
    values: int  # pc-value tables
    table: int  # functab, then the _func records; their offsets count from here
    data: bytes  # relocated; to the end of the section or, in a scan, of the segment

    @property
    def shape(self) -> FuncShape:
        """The layout of the `_func` records."""
        return _SHAPES[self.magic]

    @property
    def absolute(self) -> bool:
        """Whether functab holds 8-byte absolute addresses (Go 1.17) rather than 4-byte offsets."""
        return self.magic == MAGIC_1_16


def find_pclntab(elf: ElfImage) -> Pclntab:
    """Find the function table. Raises GoVersionError (Go 1.15 or older), TruncatedError (none is whole)."""
    torn: TruncatedError | None = None
    for name in _SECTIONS:
        section = elf.section(name)
        if section is None or not section.size:
            continue
        try:
            data = elf.read_relocated(section.address, section.size)
            return parse_pclntab(elf, section.address, data, f"section {name}")
        except TruncatedError as error:
            torn = error
    for address in _scan(elf):
        try:
            head = elf.read_relocated(address, min(_HEADER, elf.available(address)))
            _check_header(elf, head, elf.available(address))
            data = elf.read_relocated(address, elf.available(address))
            return parse_pclntab(elf, address, data, "scan")
        except TruncatedError as error:
            torn = torn or error
    raise torn or TruncatedError(
        f"{elf.display}: no Go function table in it",
        "it may be packed (UPX) or its sections were removed: unpack it",
    )


def parse_pclntab(elf: ElfImage, address: int, data: bytes, found: str) -> Pclntab:
    """Read a header and check it against the bytes there are. Raises TruncatedError, GoVersionError."""
    magic, functions, files, text, offsets = _check_header(elf, data[:_HEADER], len(data))
    table = Pclntab(address, found, magic, data[6], functions, files, text, *offsets, data)
    width = 16 if table.absolute else 8
    if table.table + functions * width + width // 2 > len(data):
        raise TruncatedError(
            f"{elf.display}: the Go function table is cut off: {functions} functions do not fit"
        )
    return table


def _check_header(
    elf: ElfImage, head: bytes, size: int
) -> tuple[int, int, int, int, tuple[int, int, int, int, int]]:
    """The header's (magic, functions, files, text start, offsets), if it can be one of `size` bytes."""
    if len(head) < 8:
        raise TruncatedError(f"{elf.display}: the Go function table is cut off in its header")
    magic = int.from_bytes(head[:4], "little")
    if magic == MAGIC_1_2:
        raise GoVersionError(
            f"{elf.display}: a function table of Go 1.15 or older", "rebuild it with go1.17 or later"
        )
    if magic not in _SHAPES:
        raise TruncatedError(f"{elf.display}: a Go function table with unknown magic {magic:#x}")
    if head[4:6] != b"\0\0" or head[6] != _QUANTUM[elf.machine] or head[7] != 8:
        raise TruncatedError(f"{elf.display}: the Go function table is not one of {elf.machine}")
    words = 7 if magic == MAGIC_1_16 else 8
    if len(head) < 8 + 8 * words:
        raise TruncatedError(f"{elf.display}: the Go function table is cut off in its header")
    functions, files, *rest = struct.unpack_from(f"<{words}Q", head, 8)
    text = rest.pop(0) if words == 8 else 0
    names, units, paths, values, table = rest
    if not (
        0 < functions < _MOST_FUNCTIONS and 8 + 8 * words <= names <= units <= paths <= values <= table < size
    ):
        raise TruncatedError(f"{elf.display}: the parts of the Go function table contradict each other")
    return magic, functions, files, text, (names, units, paths, values, table)


def _scan(elf: ElfImage) -> Iterator[int]:
    """Addresses of whatever looks like a header, in data segments before code."""
    tail = bytes((0, 0, _QUANTUM[elf.machine], 8))
    heads = [magic.to_bytes(4, "little") + tail for magic in (MAGIC_1_20, MAGIC_1_18, MAGIC_1_16, MAGIC_1_2)]
    for segment in sorted(elf.segments, key=lambda s: s.executable):
        for start in range(0, segment.file_size, _SCAN_CHUNK):
            data = elf.read_file(segment.offset + start, min(_SCAN_CHUNK + 7, segment.file_size - start))
            for head in heads:
                at = data.find(head)
                while at >= 0:
                    if (segment.address + start + at) % 8 == 0:
                        yield segment.address + start + at
                    at = data.find(head, at + 1)
