"""Debug information: whether there is any, and cheap ways into it.

Walking all of it takes seconds (pyelftools, 37 MB executable), so nobody does: a type is found by its
name's bytes in .debug_info, where Go writes names inline (DW_FORM_string), checked by the abbreviation code
before them; a package by its compile unit, whose root is named after it. Only .debug_info, .debug_abbrev and,
for addresses since DWARF 5, .debug_addr are read.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from undergo.errors import TruncatedError
from undergo.goexe.elf import ElfImage
from undergo.goexe.function import is_closure, is_method
from undergo.goexe.functions import without_type_arguments
from undergo.goexe.types import GoType, Kind, Parameter, Signature, TypeTable, member_offset
from undergo.varint import varint

if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.dwarf.dwarfinfo import DWARFInfo

_ZLIB = 1  # ELFCOMPRESS_ZLIB
_LARGEST = 1 << 31  # bytes of one section, unpacked
_LONGEST_CODE = 3  # bytes of an abbreviation code
_LONGEST_NAME = 500  # bytes of a constant's
_REG0, _FBREG, _CALL_FRAME_CFA = 0x50, 0x91, 0x9C  # DW_OP_
_SHAPE = "[go.shape."  # of names of functions that are compiled once for several type arguments


def dwarf_version(elf: ElfImage) -> int | None:
    """The DWARF version of the first unit; None if there is no debug information."""
    data = _section(elf, "debug_info", 6)
    return int.from_bytes(data[4:6], "little") if len(data) >= 6 else None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a parameter is: the DWARF number of a register, or bytes from the CFA."""

    register: int | None = None
    stack: int | None = None
    at_entry: bool = False  # that is so at the function's entry, and perhaps not later


class Dwarf:
    """The debug information of one executable. Every method raises TruncatedError where it is damaged."""

    def __init__(self, elf: ElfImage) -> None:
        """Nothing is read before it is asked for; `elf` must have debug information."""
        self._elf = elf

    def units(self, package: str) -> Iterator[CompileUnit]:
        """The compile units of a Go package; there may be several."""
        with _damage(self._elf):
            for unit in self._info.iter_CUs():
                if _name(unit.get_top_DIE()) == package:
                    yield unit

    def structure(self, name: str) -> DIE | None:
        """The struct type of that full name, e.g. "runtime.g"."""
        return self._entry(name, "DW_TAG_structure_type")

    def members(self, name: str) -> dict[str, int]:
        """Byte offsets of a struct's fields, those of structs in it as "sched.sp"; {} if unknown."""
        with _damage(self._elf):
            structure = self.structure(name)
            return {} if structure is None else dict(_members(structure, "", 0, 2))

    def taking(self, types: Sequence[str], wanted: Callable[[str], bool]) -> dict[str, bool]:
        """Names of functions that take these types, after a receiver if any, and return nothing.

        True: exactly these. False: some of these. Go up to 1.21 leaves out parameters called _. Types
        are full names ("net/http.ResponseWriter", "*net/http.Request"); only units of packages that are `wanted`
        are looked into, and of those only the ones that refer to any of the types at all.
        """
        with _damage(self._elf):
            places = [self._type(name) for name in types]
            if not all(places):
                return {}
            references = [struct.pack("<I", place) for place in set[int]().union(*places)]
            return {
                name: whole
                for unit in self._info.iter_CUs()
                if any(
                    self._data.find(r, unit.cu_offset, unit.cu_offset + unit.size) >= 0 for r in references
                )
                and wanted(_name(unit.get_top_DIE()))
                for name, whole in _taking(unit, places)
            }

    def signature(self, name: str, entry: int) -> Signature | None:
        """Parameters and results of the function of that full name at that address; None if it is not described.

        `types` knows what their types are made of.
        """
        with _damage(self._elf):
            abstract: list[DIE] = []
            for found in self._entries(name, "DW_TAG_subprogram"):
                place = found.attributes.get("DW_AT_low_pc")
                if place is not None and place.value == entry:
                    return self._signature(found, entry)
                if "DW_AT_inline" in found.attributes:
                    abstract.append(found)
            # what was also inlined somewhere is described there; its own code only refers to that
            if not abstract or (len(abstract) > 1 and "[...]" in name):
                return None  # up to Go 1.20 the name does not say which type arguments it has
            inlined = self._signature(abstract[-1], None)
            own = self._concrete(abstract[-1], entry)
            if own is None:
                return inlined
            # results without a name are only there, and parameters that nothing uses perhaps are not
            found_there = self._signature(own, entry)
            if [one.name for one in inlined.parameters] == [one.name for one in found_there.parameters]:
                return found_there
            return Signature(inlined.parameters, found_there.results or inlined.results)

    def _concrete(self, abstract: DIE, entry: int) -> DIE | None:
        """The entry of the code at an address, which refers to what is said of all code of that function."""
        reference = struct.pack("<I", abstract.offset)
        at = self._data.find(reference)
        while at >= 0:
            found = self._entry_before(at, "", "DW_TAG_subprogram")
            place = found.attributes.get("DW_AT_low_pc") if found is not None else None
            if place is not None and place.value == entry:
                return found
            at = self._data.find(reference, at + 1)
        return None

    def _signature(self, function: DIE, entry: int | None) -> Signature:
        lists: tuple[list[Parameter], list[Parameter]] = [], []
        names: set[str] = set()
        name_of_function = _name(function)
        if "DW_AT_abstract_origin" in function.attributes:
            name_of_function = _name(function.get_DIE_from_attribute("DW_AT_abstract_origin"))
        for child in function.iter_children():
            if child.tag != "DW_TAG_formal_parameter":
                continue
            described = child
            if "DW_AT_abstract_origin" in child.attributes:
                described = child.get_DIE_from_attribute("DW_AT_abstract_origin")
            if "DW_AT_type" not in described.attributes:
                continue
            result = described.attributes["DW_AT_variable_parameter"].value
            name = _name(described)
            if name in names:
                continue  # a result that a deferred function sets is described twice (Go 1.21 to 1.25)
            if name not in ("", "_"):
                names.add(name)
            place = _Place() if entry is None else self._place_at(child, entry)
            lists[bool(result)].append(
                Parameter(
                    "" if name.startswith("~") or name == "_" else name,
                    self.types.of(described.get_DIE_from_attribute("DW_AT_type")),
                    None if result else place.register,
                    place.stack,
                    place.at_entry and not result and place.stack is not None,
                )
            )
        parameters = lists[0]
        at = _dictionary_at(name_of_function)
        if at is not None and ".dict" not in names and len(parameters) >= at:
            parameters.insert(at, Parameter(".dict", GoType("unsafe.Pointer", Kind.UNSAFE_POINTER, 8)))
        return Signature(tuple(parameters), tuple(lists[1]))

    def _place_at(self, parameter: DIE, entry: int) -> _Place:
        """Where a parameter's first word is at the function's entry, or else where it is throughout."""
        location = parameter.attributes.get("DW_AT_location")
        if location is None:
            return _Place()
        if location.form != "DW_FORM_sec_offset":
            return _Place(None, _from_cfa(location.value), False)
        from elftools.dwarf.locationlists import BaseAddressEntry, LocationEntry

        lists = self._info.location_lists()
        if lists is None:
            return _Place()
        base = parameter.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        start = base.value if base is not None else 0
        for each in lists.get_location_list_at_offset(location.value, die=parameter):
            if isinstance(each, BaseAddressEntry):
                start = each.base_address
            elif isinstance(each, LocationEntry):
                begin = each.begin_offset + (0 if each.is_absolute else start)
                if begin == entry and each.loc_expr and _REG0 <= each.loc_expr[0] < _REG0 + 33:
                    return _Place(int(each.loc_expr[0]) - _REG0, None, True)
                if begin == entry:
                    return _Place(None, _from_cfa(each.loc_expr), True)
        return _Place()

    @cached_property
    def types(self) -> TypeTable:
        """The types that signatures name."""
        return TypeTable(self.constants)

    def constants(self, place: int) -> dict[int, str]:
        """The constants of the type at a place, by value: the first of each, "main.Green"."""
        found: dict[int, str] = {}
        with _damage(self._elf):
            reference = struct.pack("<I", place)
            at = self._data.find(reference)
            while at >= 0:
                entry = self._constant_at(at) if at and not self._data[at - 1] else None
                if entry is not None and entry.attributes["DW_AT_type"].value == place:
                    found.setdefault(int(entry.attributes["DW_AT_const_value"].value), _name(entry))
                at = self._data.find(reference, at + 1)
        return found

    def _constant_at(self, at: int) -> DIE | None:
        """The constant whose reference to its type is at a place: right after its name, which is after its code."""
        start = end = at - 1
        while start > 0 and end - start < _LONGEST_NAME and self._data[start - 1] > 0x20:
            start -= 1
        for begin in (start, start + 1):  # the code may look like a letter
            name = self._data[begin:end].decode("utf-8", "surrogateescape")
            if name and (entry := self._entry_before(begin, name, "DW_TAG_constant")) is not None:
                return entry
        return None

    def _type(self, name: str) -> set[int]:
        """The offsets of the entries of a type: a named interface has two, one a typedef of the other."""
        tag = "DW_TAG_pointer_type" if name.startswith("*") else "DW_TAG_typedef"
        return {entry.offset for entry in self._entries(name, tag)}

    @cached_property
    def _data(self) -> bytes:
        return _section(self._elf, "debug_info")

    @cached_property
    def _info(self) -> DWARFInfo:
        from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

        def describe(name: str, data: bytes) -> DebugSectionDescriptor:
            return DebugSectionDescriptor(io.BytesIO(data), name, 0, len(data), 0)

        absent = "aranges frame eh_frame str loc ranges line pubtypes pubnames str_offsets line_str addr"
        absent += " loclists rnglists"
        sections = {
            f"debug_{name}_sec" if name != "eh_frame" else "eh_frame_sec": None for name in absent.split()
        }
        sections |= {"debug_sup_sec": None, "gnu_debugaltlink_sec": None, "debug_types_sec": None}
        machine = {"amd64": "x64", "arm64": "AArch64"}[self._elf.machine]
        # the first and third are of DWARF 5, the last two of C units
        names = ("debug_addr", "debug_loc", "debug_loclists", "debug_str", "debug_line_str")
        more = {name: _section(self._elf, name) for name in names}
        given = {f"{name}_sec": describe(f".{name}", data) for name, data in more.items() if data}
        return DWARFInfo(
            config=DwarfConfig(little_endian=True, machine_arch=machine, default_address_size=8),
            debug_info_sec=describe(".debug_info", self._data),
            debug_abbrev_sec=describe(".debug_abbrev", _section(self._elf, "debug_abbrev")),
            **(sections | given),
        )

    @cached_property
    def _unit_starts(self) -> list[tuple[int, int]]:
        """(offset, end) of every unit in .debug_info."""
        data, at, found = self._data, 0, []
        while at + 12 <= len(data):
            (length,) = struct.unpack_from("<I", data, at)
            size = 4
            if length == 0xFFFFFFFF:  # 64-bit DWARF
                (length,) = struct.unpack_from("<Q", data, at + 4)
                size = 12
            if not length or at + size + length > len(data):
                raise TruncatedError(f"{self._elf.display}: the debug information is cut off")
            found.append((at, at + size + length))
            at += size + length
        return found

    def _entry(self, name: str, tag: str) -> DIE | None:
        """The first entry of that name: found by bytes, else by walking units."""
        with _damage(self._elf):
            for entry in self._entries(name, tag):
                return entry
            for unit in self.units(name.rpartition(".")[0]):
                for entry in unit.iter_DIEs():
                    if entry.tag == tag and _name(entry) == name:
                        return entry
        return None

    def _entries(self, name: str, tag: str) -> Iterator[DIE]:
        """The entries whose first attribute is this name, found by its bytes; [...] are any type arguments."""
        head, arguments, _ = name.partition("[...]")
        wanted = head.encode() + (b"[" if arguments else b"\0")
        at = self._data.find(wanted)
        while at >= 0:
            full = name
            if arguments:
                end = self._data.find(b"\0", at)
                full = self._data[at:end].decode("utf-8", "surrogateescape")
            if not arguments or without_type_arguments(full) == name:
                entry = self._entry_before(at, full, tag)
                if entry is not None:
                    yield entry
            at = self._data.find(wanted, at + 1)

    def _entry_before(self, at: int, name: str, tag: str) -> DIE | None:
        unit_at = next((start for start, end in self._unit_starts if start < at < end), None)
        if unit_at is None:
            return None
        unit = self._info.get_CU_at(unit_at)
        abbreviations = unit.get_abbrev_table()
        for size in range(1, _LONGEST_CODE + 1):
            code = _uleb(self._data[at - size : at])
            if code is None or at - size < unit.cu_die_offset:
                continue
            try:
                declaration = abbreviations.get_abbrev(code)
            except KeyError:
                continue
            if declaration is None or declaration.decl.tag != tag:
                continue
            entry = self._info.get_DIE_from_refaddr(at - size, unit)
            if _name(entry) == name:
                return entry
        return None


def _from_cfa(expression: Sequence[int]) -> int | None:
    """The N of DW_OP_fbreg N or DW_OP_call_frame_cfa; Go's frame base is the CFA."""
    if len(expression) and expression[0] == _CALL_FRAME_CFA:
        return 0
    if len(expression) < 2 or expression[0] != _FBREG:
        return None
    value = 0
    for place, byte in enumerate(expression[1:]):
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value - (1 << 7 * (place + 1) if byte & 0x40 else 0)
    return None


def _dictionary_at(name: str) -> int | None:
    """How many parameters go before the dictionary of a function with type parameters; None if it takes none.

    Up to Go 1.21 it is not described, and later not where it is not used.
    """
    plain = without_type_arguments(name)
    if _SHAPE not in name or is_closure(plain) or plain.startswith(("type:", "type..")):
        return None  # a closure has it, and functions that compare or hash need none
    if re.search(r"_\d+[],]", name):  # Go 1.18 and 1.19: before the receiver
        return 0
    return int(is_method(plain.replace("[...]", "")))


def _taking(unit: CompileUnit, places: Sequence[set[int]]) -> Iterator[tuple[str, bool]]:
    """Names of a unit's functions whose parameters, but a receiver, have their types at these places: all, some."""
    for entry in unit.get_top_DIE().iter_children():
        if entry.tag != "DW_TAG_subprogram" or "DW_AT_name" not in entry.attributes:
            continue  # code of a function whose entry with the name stands elsewhere
        parameters = [child for child in entry.iter_children() if child.tag == "DW_TAG_formal_parameter"]
        found = [child.attributes["DW_AT_type"].value for child in parameters]
        name = _name(entry)
        if is_method(name) and found and not any(found[0] in place for place in places):
            found = found[1:]
        if any(child.attributes["DW_AT_variable_parameter"].value for child in parameters):
            continue  # that is a result
        rest = iter(places)
        if found and all(any(one in place for place in rest) for one in found):
            yield name, len(found) == len(places)


def _members(structure: DIE, prefix: str, base: int, depth: int) -> Iterator[tuple[str, int]]:
    for child in structure.iter_children():
        if child.tag != "DW_TAG_member":
            continue
        name = prefix + _name(child)
        offset = base + member_offset(child.attributes["DW_AT_data_member_location"].value)
        yield name, offset
        if depth > 1:
            of_type = child.get_DIE_from_attribute("DW_AT_type")
            while of_type.tag == "DW_TAG_typedef":  # Go gives every named type one
                of_type = of_type.get_DIE_from_attribute("DW_AT_type")
            if of_type.tag == "DW_TAG_structure_type":
                yield from _members(of_type, f"{name}.", offset, depth - 1)


def _uleb(data: bytes) -> int | None:
    """The number these bytes encode if they are exactly one ULEB128 number, not 0."""
    found = varint(data)
    return found[0] or None if found is not None and found[1] == len(data) else None


def _name(entry: DIE) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    value = attribute.value if attribute is not None else b""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else ""


@contextlib.contextmanager
def _damage(elf: ElfImage) -> Iterator[None]:
    """pyelftools meets damaged input with whatever exception its parsing happens to end in."""
    try:
        yield
    except (TruncatedError, GeneratorExit):
        raise
    except Exception as error:
        raise TruncatedError(
            f"{elf.display}: the debug information is damaged ({type(error).__name__})"
        ) from error


def _section(elf: ElfImage, name: str, limit: int = _LARGEST) -> bytes:
    """Up to `limit` bytes of a debug section, unpacked; b"" if absent or packed in an unknown way."""
    section = elf.section(f".{name}")
    if section is not None and not section.compressed:
        return elf.read_file(section.offset, min(section.size, limit))
    if section is not None:
        data = elf.read_file(section.offset, min(section.size, max(limit, 1 << 12)))
        if len(data) < 24 or int.from_bytes(data[:4], "little") != _ZLIB:
            return b""
        return _inflate(elf, data[24:], min(int.from_bytes(data[8:16], "little"), limit))
    section = elf.section(f".z{name}")  # Go up to 1.18: "ZLIB", then the size, big-endian
    if section is None:
        return b""
    data = elf.read_section(section)
    return (
        _inflate(elf, data[12:], min(int.from_bytes(data[4:12], "big"), limit))
        if data[:4] == b"ZLIB"
        else b""
    )


def _inflate(elf: ElfImage, data: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, min(size, _LARGEST)) if size else b""
    except zlib.error:
        raise TruncatedError(f"{elf.display}: the compressed debug information is damaged") from None
