"""A Go executable: everything undergo knows about it without running it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from undergo.goexe.buildinfo import BuildInfo, read_build_info
from undergo.goexe.elf import ElfImage
from undergo.goexe.function import Function
from undergo.goexe.functions import FunctionTable
from undergo.goexe.moduledata import ModuleData, find_moduledata
from undergo.goexe.pclntab import Pclntab, find_pclntab

if TYPE_CHECKING:
    from undergo.goexe.inline import InlineIndex
    from undergo.goexe.layout import RuntimeLayout

_NOTE_GNU_BUILD_ID, _NOTE_GO_BUILD_ID = 3, 4


@dataclass(frozen=True, slots=True)
class BuildMode:
    """How the executable was linked."""

    machine: str  # "amd64" or "arm64"
    pie: bool
    cgo: bool  # C code is in it (package runtime/cgo)
    external: bool  # linked by the system's linker
    interpreted: bool  # loaded by the dynamic loader
    stripped: bool  # no symbol table
    pgo: str  # the profile it was optimised with, "" if none

    def __str__(self) -> str:
        """For people: "PIE, cgo, externally linked, stripped, PGO"."""
        words = ["PIE" if self.pie else "fixed address", "dynamic" if self.interpreted else "static"]
        words += [word for word, has in (("cgo", self.cgo), ("externally linked", self.external)) if has]
        words += ["stripped"] if self.stripped else []
        words += ["PGO"] if self.pgo else []
        return ", ".join(words)


class GoExecutable:
    """One executable file, opened once; addresses are link-time virtual addresses.

    ELF headers, build info and the function table are read at once, the rest when it is asked for.
    """

    def __init__(self, elf: ElfImage) -> None:
        """Takes the image over. Raises NotGoError, GoVersionError, TruncatedError."""
        self.elf = elf
        self.path = elf.path
        self.display = elf.display
        self.build: BuildInfo = read_build_info(elf)
        self._table: Pclntab = find_pclntab(elf)
        self.text_start: int = self._table.text_start or self._text_start()
        self.functions = FunctionTable(self._table, self.text_start, elf.display)

    @classmethod
    def open(cls, path: str | os.PathLike[str], display: str | None = None) -> Self:
        """Open an executable, which may be /proc/PID/exe; `display` is how messages call it.

        Raises TargetError and its kinds, PermissionDeniedError.
        """
        elf = ElfImage.open(path, display)
        try:
            return cls(elf)
        except BaseException:
            elf.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.elf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pclntab_found(self) -> str:
        """How the function table was found: "section .gopclntab", ..., or "scan"."""
        return self._table.found

    @property
    def moduledata_found(self) -> str:
        """How module data was found: "section .go.module", "scan", "relocations". Raises TruncatedError."""
        return self.moduledata.found

    @cached_property
    def moduledata(self) -> ModuleData:
        """The runtime's module data. Raises TruncatedError if it cannot be found."""
        return find_moduledata(self.elf, self._table, self.build.version)

    @cached_property
    def layout(self) -> RuntimeLayout:
        """Where the runtime keeps what we read. Raises GoVersionError if nobody knows."""
        from undergo.goexe.layout import read_layout

        return read_layout(self.elf, self.build)

    @cached_property
    def inlined(self) -> InlineIndex:
        """Where functions were inlined; empty rather than an error if that cannot be read."""
        from undergo.errors import TruncatedError
        from undergo.goexe.inline import InlineIndex

        try:
            gofunc = self.moduledata.gofunc
        except TruncatedError:
            gofunc = 0
        return InlineIndex(self.functions, self.elf, gofunc, self.build.version)

    @cached_property
    def dwarf_version(self) -> int | None:
        """The DWARF version, None without debug information. Raises TruncatedError if it is damaged."""
        from undergo.goexe.dwarf import dwarf_version

        return dwarf_version(self.elf)

    @cached_property
    def build_mode(self) -> BuildMode:
        """How it was linked."""
        elf = self.elf
        return BuildMode(
            machine=elf.machine,
            pie=elf.pie,
            cgo=bool(self.functions.rows_named("_cgo_topofstack")) or self._has_package("runtime/cgo."),
            external=elf.section(".init") is not None or elf.section(".eh_frame_hdr") is not None,
            interpreted=elf.interpreted,
            stripped=elf.stripped,
            pgo=self.build.pgo,
        )

    @cached_property
    def build_id(self) -> str:
        """The GNU build id in hex, else Go's build id, else ""."""
        go = ""
        for owner, kind, content in self.elf.notes():
            if owner == "GNU" and kind == _NOTE_GNU_BUILD_ID:
                return content.hex()
            if owner == "Go" and kind == _NOTE_GO_BUILD_ID:
                go = content.rstrip(b"\0").decode("utf-8", "replace")
        return go

    def code(self, function: Function) -> bytes:
        """The instructions of a function, padding excluded. Raises TruncatedError."""
        return self.elf.read(function.entry, function.end - function.entry)

    def file_offset(self, address: int) -> int:
        """The offset in the file of an address. Raises TruncatedError."""
        return self.elf.file_offset(address)

    def _text_start(self) -> int:
        # Go 1.17 has absolute addresses and needs none; 1.26 and later leave it to the module data.
        return 0 if self._table.absolute else self.moduledata.text

    def _has_package(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self.functions.names)
