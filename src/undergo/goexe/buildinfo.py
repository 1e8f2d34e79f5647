"""What the Go linker wrote down about the build: version, module, settings.

The blob (cmd/link/internal/ld `buildinfo`, unchanged in shape 1.18 to 1.27) starts with 14 magic bytes,
aligned to 16, then the pointer size and flags. Flag 2 says that two strings follow inline, each after a
varint length (Go 1.18 and later); else two pointers to string headers follow (1.17). It survives
`-ldflags="-s -w"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from undergo.errors import GoVersionError, NotGoError, TruncatedError
from undergo.goexe.elf import ElfImage
from undergo.varint import LONGEST, varint

OLDEST = (1, 17)

_MAGIC = b"\xff Go buildinf:"
_HEADER = 32
_LONGEST = 1 << 24
_SCAN_CHUNK = 1 << 24
_VERSION = re.compile(r"go(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """How the executable was built; strings are as recorded, "" where nothing was."""

    go_version: str  # "go1.24.11", with experiments as recorded: "go1.25.1 X:nodwarf5"
    version: tuple[int, int]  # (1, 24)
    path: str  # import path of the main package, "command-line-arguments" for loose files
    module: str  # main module's path
    module_version: str  # "v1.2.3", "(devel)"
    settings: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # "-ldflags", "GOARCH", "vcs.time"
    dependencies: int = 0  # number of modules it was built from, besides the main one

    @property
    def vcs_revision(self) -> str:
        """The commit it was built from, "" if unknown; `+dirty` is appended when files were modified."""
        revision = self.settings.get("vcs.revision", "")
        return f"{revision}+dirty" if revision and self.settings.get("vcs.modified") == "true" else revision

    @property
    def pgo(self) -> str:
        """The profile it was optimised with, "" if none: PGO inlines functions that otherwise never are."""
        return self.settings.get("-pgo", "")

    @property
    def cgo(self) -> bool:
        """Whether cgo was enabled; that C code is really in it is another question."""
        return self.settings.get("CGO_ENABLED") == "1"


def read_build_info(elf: ElfImage) -> BuildInfo:
    """Raises NotGoError (no build info), GoVersionError (before 1.17), TruncatedError (torn)."""
    torn: TruncatedError | None = None
    for address in _candidates(elf):
        try:
            version, modules = _strings(elf, address)
        except TruncatedError as error:
            torn = error
            continue
        if version:
            return parse_build_info(version, modules, elf.display)
    if torn is not None:
        raise torn
    raise NotGoError(
        f"{elf.display}: not built by Go (no Go build info)", "undergo traces Go executables only"
    )


def parse_build_info(go_version: str, modules: str, display: str = "executable") -> BuildInfo:
    """Parse the version and the framed module text. Raises GoVersionError (too old, unknown)."""
    path = module = module_version = ""
    settings: dict[str, str] = {}
    dependencies = 0
    if len(modules) >= 33 and modules[-17] == "\n":  # 16 bytes of frame on either side
        for line in modules[16:-16].split("\n"):
            kind, _, rest = line.partition("\t")
            if kind == "path":
                path = rest
            elif kind == "mod":
                module, _, more = rest.partition("\t")
                module_version = more.partition("\t")[0]
            elif kind == "dep":
                dependencies += 1
            elif kind == "build":
                key, value = _setting(rest)
                settings[key] = value
    return BuildInfo(
        go_version,
        _version(go_version, display),
        path,
        module,
        module_version,
        MappingProxyType(settings),
        dependencies,
    )


def _version(go_version: str, display: str) -> tuple[int, int]:
    match = _VERSION.search(go_version)
    if match is None:
        raise GoVersionError(
            f"{display}: built by an unknown Go ({go_version[:40]!r})", "rebuild it with a released Go"
        )
    version = int(match[1]), int(match[2])
    if version < OLDEST:
        raise GoVersionError(
            f"{display}: built with {match[0]}; undergo needs go1.17 or later", "rebuild it with a newer Go"
        )
    return version


def _setting(text: str) -> tuple[str, str]:
    """Split `key=value`; either may be a quoted Go string."""
    if text.startswith('"'):
        end = re.match(r'"(?:[^"\\]|\\.)*"', text)
        if end is not None:
            return _unquote(end[0]), _unquote(text[end.end() :].removeprefix("="))
    key, _, value = text.partition("=")
    return key, _unquote(value)


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), text[1:-1])
    if len(text) >= 2 and text[0] == text[-1] == "`":
        return text[1:-1]
    return text


def _candidates(elf: ElfImage) -> Iterator[int]:
    """Addresses where the magic stands: the section's first, then any in data, writable segments first."""
    section = elf.section(".go.buildinfo")
    whole = section is not None and min(section.size, elf.available(section.address)) >= _HEADER
    if section is not None and whole and elf.read(section.address, len(_MAGIC)) == _MAGIC:
        yield section.address
    for segment in sorted(elf.segments, key=lambda s: (not s.writable, s.executable)):
        for start in range(0, segment.file_size, _SCAN_CHUNK):
            size = min(_SCAN_CHUNK + _HEADER, segment.file_size - start)
            data = elf.read_file(segment.offset + start, size)
            at = data.find(_MAGIC)
            while at >= 0:
                if (segment.address + start + at) % 16 == 0:
                    yield segment.address + start + at
                at = data.find(_MAGIC, at + 1)


def _strings(elf: ElfImage, address: int) -> tuple[str, str]:
    header = elf.read_relocated(address, _HEADER)
    if header[15] & 2:
        version, after = _inline_string(elf, address + _HEADER)
        modules, _ = _inline_string(elf, after)
        return version, modules
    if header[14] != 8 or header[15] & 1:
        return "", ""
    pointers = int.from_bytes(header[16:24], "little"), int.from_bytes(header[24:32], "little")
    return _pointed_string(elf, pointers[0]), _pointed_string(elf, pointers[1])


def _inline_string(elf: ElfImage, address: int) -> tuple[str, int]:
    found = varint(elf.read(address, min(LONGEST, elf.available(address))))
    if found is not None:
        length, size = found
        return _text(elf, address + size, length), address + size + length
    raise TruncatedError(f"{elf.display}: the Go build info ends inside a length")


def _pointed_string(elf: ElfImage, address: int) -> str:
    if not address:
        return ""
    header = elf.read_relocated(address, 16)
    length = int.from_bytes(header[8:], "little")
    return _text(elf, int.from_bytes(header[:8], "little"), length) if length else ""


def _text(elf: ElfImage, address: int, length: int) -> str:
    if length > _LONGEST:
        raise TruncatedError(f"{elf.display}: a Go build info of {length} bytes cannot be")
    return elf.read(address, length).decode("utf-8", "surrogateescape") if length else ""
