"""The ELF file underneath a Go executable: headers, bytes by address, relocations.

The headers are read here rather than with pyelftools: they are three fixed records, a stripped executable
then opens without importing pyelftools (40 ms), and every count and offset is checked against the file's
size before it is believed. DWARF is pyelftools' work (see `dwarf.py`).

Bytes come from `pread` on one file handle that stays open, never from a mapping: a file that shrinks under a
mapping kills the reader with SIGBUS, and re-verification just before attaching must see the same inode.
"""

from __future__ import annotations

import errno
import os
import platform
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from undergo.errors import (
    ArchitectureError,
    NotElfError,
    PermissionDeniedError,
    ProcessError,
    TargetError,
    TruncatedError,
)

if TYPE_CHECKING:
    from undergo.goexe.relocations import Relocations

Machine = Literal["amd64", "arm64"]

_MACHINES: dict[int, Machine] = {62: "amd64", 183: "arm64"}  # EM_X86_64, EM_AARCH64
_THIS_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}
_NAMES = {3: "386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 243: "riscv", 258: "loong64"}

_EXEC, _DYN = 2, 3  # e_type
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE = 1, 2, 3, 4
_SHT_NOBITS = 8
_SHF_COMPRESSED = 0x800
_EHDR = struct.Struct("<HHIQQQIHHHHHH")  # what follows e_ident, 48 bytes
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_MOST_SECTIONS = 100_000


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; `size` bytes at `offset` of the file are loaded at `address` (0: not loaded)."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int

    @property
    def compressed(self) -> bool:
        """Whether the bytes begin with a compression header (SHF_COMPRESSED)."""
        return bool(self.flags & _SHF_COMPRESSED)


@dataclass(frozen=True, slots=True)
class Segment:
    """One PT_LOAD header, in bytes."""

    address: int
    offset: int
    file_size: int
    memory_size: int
    writable: bool
    executable: bool


class ElfImage:
    """A 64-bit little-endian ELF executable, opened once; addresses are link-time virtual addresses."""

    def __init__(self, descriptor: int, path: str, display: str) -> None:
        """Take over an open file descriptor. Raises NotElfError, ArchitectureError, TruncatedError."""
        self.path = path
        self.display = display
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        try:
            self._read_headers()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], display: str | None = None) -> Self:
        """Open a file, which may be /proc/PID/exe.

        Raises NotElfError, ArchitectureError, TruncatedError, TargetError (no such file, not a regular file),
        ProcessError (the process behind /proc/PID/exe is gone), PermissionDeniedError.
        """
        path = os.fspath(path)
        display = display or path
        descriptor = _open(path, display)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotElfError(f"{display}: not a regular file", "give the path of an executable")
        return cls(descriptor, path, display)

    def close(self) -> None:
        """Close the file; reading afterwards is an error of the caller."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()

    def fileno(self) -> int:
        """The file descriptor every read goes through."""
        return self._descriptor

    def require_this_machine(self) -> None:
        """Raise ArchitectureError unless this machine runs such executables; reading works for both."""
        here = _THIS_MACHINE.get(platform.machine(), platform.machine())
        if self.machine != here:
            raise ArchitectureError(
                f"{self.display}: built for {self.machine}, but this machine is {here}",
                "trace it on a machine of its own architecture; list and inspect work everywhere",
            )

    def section(self, name: str) -> Section | None:
        """The first section of that name that has bytes in the file."""
        return self._by_name.get(name)

    @property
    def code_start(self) -> int:
        """The lowest address of code, as linked: a process's mm->start_code before it is moved (fs/binfmt_elf.c)."""
        return min((segment.address for segment in self.segments if segment.executable), default=0)

    def segment_of(self, address: int) -> Segment | None:
        """The PT_LOAD segment in whose file-backed part the address lies."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.file_size:
                return segment
        return None

    def file_offset(self, address: int) -> int:
        """The offset in the file of an address. Raises TruncatedError if nothing loaded is there."""
        segment = self.segment_of(address)
        if segment is None:
            raise TruncatedError(f"{self.display}: address {address:#x} is in no loaded part of the file")
        return address - segment.address + segment.offset

    def available(self, address: int) -> int:
        """How many file-backed bytes follow an address in its segment; 0 if it is in none."""
        segment = self.segment_of(address)
        return 0 if segment is None else segment.address + segment.file_size - address

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at an address. Raises TruncatedError."""
        if size < 0 or size > self.available(address):
            raise TruncatedError(
                f"{self.display}: {size} bytes at address {address:#x} are not all in the file"
            )
        return self.read_file(self.file_offset(address), size) if size else b""

    def read_file(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at a file offset. Raises TruncatedError."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise TruncatedError(f"{self.display}: the file ends before byte {offset + size}")
        parts = []
        while size:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                raise TruncatedError(f"{self.display}: the file ends at byte {offset}")
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_section(self, section: Section) -> bytes:
        """The bytes of a section as they are in the file (still compressed if they are)."""
        return self.read_file(section.offset, section.size)

    def pointer(self, address: int) -> int:
        """The 8-byte pointer at an address, as it is in an image loaded at its link-time address."""
        return int.from_bytes(self.read_relocated(address, 8), "little")

    def read_relocated(self, address: int, size: int) -> bytes:
        """Like `read`, with the RELATIVE relocations of a PIE applied."""
        data = self.read(address, size)
        return self.relocations.apply(address, data) if self.pie else data

    @cached_property
    def relocations(self) -> Relocations:
        """The RELATIVE relocations with addends; empty for a fixed-address executable."""
        from undergo.goexe.relocations import read_relocations

        return read_relocations(self)

    @property
    def stripped(self) -> bool:
        """Whether there is no symbol table (.symtab)."""
        return self.section(".symtab") is None

    def notes(self) -> Iterator[tuple[str, int, bytes]]:
        """The notes as (owner, type, content); ends quietly where they are malformed."""
        for offset, size in self._notes:
            try:
                data = self.read_file(offset, min(size, 1 << 16))
            except TruncatedError:
                continue
            at = 0
            while at + 12 <= len(data):
                name_size, content_size, kind = struct.unpack_from("<III", data, at)
                content = at + 12 + (name_size + 3 & ~3)
                if content + content_size > len(data):
                    break
                owner = data[at + 12 : at + 12 + name_size].rstrip(b"\0").decode("latin-1")
                yield owner, kind, data[content : content + content_size]
                at = content + (content_size + 3 & ~3)

    def _read_headers(self) -> None:
        ident = self.read_file(0, min(16, self.size))
        if ident[:4] != b"\x7fELF":
            raise NotElfError(
                f"{self.display}: not an ELF file", "give a Linux executable, not a script or archive"
            )
        if self.size < 64:
            raise TruncatedError(f"{self.display}: the file ends inside the ELF header")
        if ident[4] != 2 or ident[5] != 1:
            raise ArchitectureError(
                f"{self.display}: not a 64-bit little-endian ELF file", "amd64 and arm64 only"
            )
        kind, machine, _, self.entry, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx = (
            _EHDR.unpack(self.read_file(16, 48))
        )
        if machine not in _MACHINES:
            name = _NAMES.get(machine, f"machine {machine}")
            raise ArchitectureError(f"{self.display}: built for {name}", "undergo knows amd64 and arm64")
        self.machine: Machine = _MACHINES[machine]
        if kind not in (_EXEC, _DYN):
            raise NotElfError(
                f"{self.display}: an ELF file, but not an executable",
                "objects and core files have no code to run",
            )
        self.pie = kind == _DYN
        self._read_segments(phoff, phentsize, phnum)
        self._read_sections(shoff, shentsize, shnum, shstrndx)

    def _read_segments(self, offset: int, entry_size: int, count: int) -> None:
        if count and entry_size != _PHDR.size:
            raise TruncatedError(
                f"{self.display}: program headers of {entry_size} bytes instead of {_PHDR.size}"
            )
        loads: list[Segment] = []
        self._notes: list[tuple[int, int]] = []
        self.dynamic_table: tuple[int, int] | None = None  # address, size in bytes
        self.interpreted = False
        headers = self.read_file(offset, count * _PHDR.size) if count else b""
        for kind, flags, start, address, _, file_size, memory_size, _ in _PHDR.iter_unpack(headers):
            if kind == _PT_LOAD:
                if start + file_size > self.size:
                    raise TruncatedError(
                        f"{self.display}: the file ends at byte {self.size}, inside its code or data",
                        "the copy is incomplete: copy the executable again",
                    )
                if address + memory_size >= 1 << 64:
                    raise TruncatedError(f"{self.display}: a segment ends beyond the address space")
                loads.append(
                    Segment(address, start, file_size, memory_size, bool(flags & 2), bool(flags & 1))
                )
            elif kind == _PT_DYNAMIC:
                self.dynamic_table = address, file_size
            elif kind == _PT_INTERP:
                self.interpreted = True
            elif kind == _PT_NOTE:
                self._notes.append((start, file_size))
        if not loads:
            raise TruncatedError(
                f"{self.display}: no loadable segments", "it is not an executable that can run"
            )
        self.segments = tuple(loads)

    def _read_sections(self, offset: int, entry_size: int, count: int, names_index: int) -> None:
        self.sections: tuple[Section, ...] = ()
        self._by_name: dict[str, Section] = {}
        if not offset:
            return
        if entry_size != _SHDR.size:
            raise TruncatedError(
                f"{self.display}: section headers of {entry_size} bytes instead of {_SHDR.size}"
            )
        if count == 0:  # the real count then stands in the size of section 0
            count = _SHDR.unpack(self.read_file(offset, _SHDR.size))[5]
        if not 0 < count < _MOST_SECTIONS:
            raise TruncatedError(f"{self.display}: {count} sections cannot be")
        raw = list(_SHDR.iter_unpack(self.read_file(offset, count * _SHDR.size)))
        if names_index == 0xFFFF:  # SHN_XINDEX
            names_index = raw[0][6]
        names = b""
        if names_index < count:
            names = self.read_file(raw[names_index][4], raw[names_index][5])
        sections = []
        for name_offset, kind, flags, address, start, size, *_ in raw:
            end = names.find(b"\0", name_offset)
            name = (
                names[name_offset : end if end >= 0 else None].decode("latin-1")
                if name_offset < len(names)
                else ""
            )
            sections.append(Section(name, kind, flags, address, start, size))
        self.sections = tuple(sections)
        for section in sections:
            if section.type not in (0, _SHT_NOBITS):
                self._by_name.setdefault(section.name, section)


def _open(path: str, display: str) -> int:
    try:
        return os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        )  # a FIFO must not block
    except PermissionError:
        raise PermissionDeniedError(f"{display}: permission denied", "run undergo as root (sudo)") from None
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        if path.startswith("/proc/"):
            raise ProcessError(
                f"{display}: the process has no executable any more, or never had one"
            ) from None
        raise TargetError(f"{display}: no such file", "give the path of a Go executable") from None
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise TargetError(f"{display}: cannot be opened: {reason}") from None
    except ValueError:
        raise TargetError(f"{display!r}: not a file name") from None
