"""Where the Go runtime keeps what we read: byte offsets inside runtime.g and runtime.m.

They come from the executable's DWARF, else from `layout_table.json`, which `tools/make_runtime_tables.py`
makes by compiling with each toolchain. They are the same on amd64 and arm64, and patch releases do not
differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from undergo.errors import GoVersionError, TruncatedError
from undergo.goexe.buildinfo import BuildInfo
from undergo.goexe.dwarf import Dwarf, dwarf_version
from undergo.goexe.elf import ElfImage


@dataclass(frozen=True, slots=True)
class RuntimeLayout:
    """Byte offsets in `runtime.g` and `runtime.m` of one executable, and where they were learned."""

    g_stack_lo: int
    g_stack_hi: int
    g_m: int
    g_sched_sp: int
    g_atomicstatus: int
    g_goid: int
    g_waitsince: int
    g_waitreason: int
    g_parent_goid: int | None  # 1.21 and later
    g_gopc: int
    g_startpc: int
    g_labels: int
    m_g0: int
    m_procid: int
    m_curg: int
    source: str  # "DWARF" or "table (go1.24)"


G_MEMBERS = {
    "g_stack_lo": "stack.lo",
    "g_stack_hi": "stack.hi",
    "g_m": "m",
    "g_sched_sp": "sched.sp",
    "g_atomicstatus": "atomicstatus",
    "g_goid": "goid",
    "g_waitsince": "waitsince",
    "g_waitreason": "waitreason",
    "g_parent_goid": "parentGoid",
    "g_gopc": "gopc",
    "g_startpc": "startpc",
    "g_labels": "labels",
}
M_MEMBERS = {"m_g0": "g0", "m_procid": "procid", "m_curg": "curg"}
_OPTIONAL = {"g_parent_goid"}


def read_layout(elf: ElfImage, build: BuildInfo) -> RuntimeLayout:
    """The layout of one executable. Raises GoVersionError without DWARF and a known version."""
    try:
        if dwarf_version(elf) is not None:
            return layout_from_dwarf(elf)
    except (TruncatedError, KeyError):
        pass  # debug information without the runtime's types, or damaged: the table knows as well
    return layout_from_table(build, elf.display)


def layout_from_dwarf(elf: ElfImage) -> RuntimeLayout:
    """Read it from DWARF. Raises TruncatedError if that is damaged, KeyError if it lacks a field."""
    dwarf = Dwarf(elf)
    return _layout(dwarf.members("runtime.g"), dwarf.members("runtime.m"), "DWARF")


def layout_from_table(build: BuildInfo, display: str = "executable") -> RuntimeLayout:
    """Look it up by the Go version. Raises GoVersionError if the table does not have it."""
    version = f"{build.version[0]}.{build.version[1]}"
    table = layout_table()
    if version not in table:
        newest = max(table, key=lambda known: int(known.partition(".")[2]))
        raise GoVersionError(
            f"{display}: the runtime layout of {build.go_version} is not known and it has no DWARF",
            f"build it without -ldflags=-w, or use an undergo that knows it (this one: up to go{newest})",
        )
    row = table[version]
    return _layout(row["g"], row["m"], f"table (go{version})")


def layout_table() -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """The table: minor version "1.24" -> "g" or "m" -> field -> byte offset."""
    text = resources.files("undergo.goexe").joinpath("layout_table.json").read_text("utf-8")
    versions: Mapping[str, Mapping[str, Mapping[str, int]]] = json.loads(text)["versions"]
    return versions


def _layout(g: Mapping[str, int], m: Mapping[str, int], source: str) -> RuntimeLayout:
    found: dict[str, int | None] = {}
    for members, fields in ((g, G_MEMBERS), (m, M_MEMBERS)):
        for field, member in fields.items():
            found[field] = members.get(member) if field in _OPTIONAL else members[member]
    return RuntimeLayout(**found, source=source)  # type: ignore[arg-type]  # only g_parent_goid may be None
