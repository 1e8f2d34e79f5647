"""Type descriptors as the runtime has them: what interfaces hold, with names and fields, stripped or not.

internal/abi/type.go, the same in Go 1.17 to 1.27 but for what is said below. A descriptor has 48 bytes: size at 0,
flags at 20, kind at 23, and at 40 the offset of its name from moduledata.types; what follows depends on the kind. A
name is a byte of flags, a varint with the length, and the text; it begins with a star that does not count where flag
2 of the descriptor says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from undergo.errors import TruncatedError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.types import Field, GoType, Kind
from undergo.varint import varint

_FLAGS, _KIND, _NAME, _SIZE = 20, 23, 40, 48
_EXTRA_STAR: Final = 1 << 1
_KIND_MASK: Final = 0x1F
_LONGEST: Final = 4096  # bytes of a name
_MOST_FIELDS: Final = 4096
_MOST_ITABS: Final = 1 << 20
_EMBEDDED: Final = 1 << 3  # of a name's flags, since Go 1.19; before, bit 0 of the offset
# moduledata.itablinks, a slice of pointers; since Go 1.27 itaboffset and itabsize, the itabs themselves
_ITABLINKS: Final = (((1, 26), 384), ((1, 20), 376), ((1, 18), 360), ((1, 17), 344))
# moduledata.typelinks, a slice of int32 offsets, until Go 1.26
_TYPELINKS: Final = (((1, 26), 360), ((1, 20), 352), ((1, 18), 336), ((1, 17), 320))
_MOST_LINKS: Final = 1 << 20
_ITAB_OFFSET: Final = 320
_TYPEDESCLEN: Final = 304  # the same since Go 1.27
_UNCOMMON: Final = 1 << 0  # what methods need follows the descriptor
#: Sizes of descriptors of Go 1.27, without what follows.
_BASES: Final[dict[int, int]] = {
    Kind.ARRAY: 72,
    Kind.CHAN: 64,
    Kind.FUNC: 56,
    Kind.INTERFACE: 80,
    Kind.MAP: 136,
    Kind.POINTER: 56,
    Kind.SLICE: 56,
    Kind.STRUCT: 80,
}


class RuntimeTypes:
    """The descriptors of one executable, by their addresses as linked; these are also the places of types."""

    def __init__(self, executable: GoExecutable) -> None:
        self._elf = executable.elf
        self._version = executable.build.version
        try:
            self._module = executable.moduledata
            self.start = self._module.types
        except TruncatedError:
            self.start = 0
        self._names: dict[int, str] = {}
        self._known: dict[int, GoType] = {}
        self._by_name: dict[str, int] | None = None

    def name(self, address: int) -> str:
        """The type's name, "*errors.errorString"; "" where there is no descriptor, as of types made at run time."""
        known = self._names.get(address)
        if known is None:
            try:
                raw = self._elf.read(address, _SIZE) if address >= self.start > 0 else b""
                known = self._name_of(raw) if raw else ""
            except (TruncatedError, UnicodeDecodeError):
                known = ""
            self._names[address] = known
        return known

    def __getitem__(self, address: int) -> GoType:
        """The type at an address. Raises TruncatedError where there is none."""
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = self._read(address)
        return known

    def named(self, name: str) -> int | None:
        """The address of the type of that name, "shop.Item" or "*shop.Item"; None if there is no descriptor."""
        if self._by_name is None:
            self._by_name = {}
            try:
                for address in self._reachable():
                    self._by_name.setdefault(self.name(address), address)
            except TruncatedError:
                pass  # what was found until then will have to do
        return self._by_name.get(name)

    def _reachable(self) -> Iterator[int]:
        """Addresses of all types that itabs and type links name, and of what these are made of."""
        waiting = [address for pair in self._itabs() for address in pair] + list(self._links())
        seen: set[int] = set()
        while waiting:
            address = waiting.pop()
            if address in seen:
                continue
            seen.add(address)
            try:
                of = self[address]
            except TruncatedError:
                continue
            yield address
            waiting += [place for place in (of.elem, of.key, *(each.type for each in of.fields)) if place]

    def _links(self) -> Iterator[int]:
        """Addresses of the types that moduledata.typelinks names; since Go 1.27 of all, one after the other."""
        if not self.start:
            return
        if self._version >= (1, 27):
            yield from self._one_after_the_other()
            return
        place = self._module.address + next(o for since, o in _TYPELINKS if self._version >= since)
        count = int.from_bytes(self._elf.read(place + 8, 8), "little")
        raw = self._elf.read(self._elf.pointer(place), 4 * min(count, _MOST_LINKS))
        for at in range(0, len(raw), 4):
            yield self.start + int.from_bytes(raw[at : at + 4], "little", signed=True)

    def _one_after_the_other(self) -> Iterator[int]:
        """Addresses of all descriptors (runtime/type.go, moduleTypelinks; internal/abi/type.go, DescriptorSize)."""
        length = int.from_bytes(self._elf.read(self._module.address + _TYPEDESCLEN, 8), "little")
        at = self.start + 8
        while at < self.start + length:
            yield at
            head = self._elf.read(at, _SIZE)
            kind = head[_KIND] & _KIND_MASK
            size = _BASES.get(kind, _SIZE)
            more = 0
            if kind == Kind.FUNC:
                given, back = struct.unpack("<HH", self._elf.read(at + _SIZE, 4))
                more = 8 * (given + (back & 0x7FFF))
            elif kind in (Kind.INTERFACE, Kind.STRUCT):
                count = int.from_bytes(self._elf.read(at + 64, 8), "little")
                more = count * (24 if kind == Kind.STRUCT else 8)
            if head[_FLAGS] & _UNCOMMON:
                methods = int.from_bytes(self._elf.read(at + size + 4, 2), "little")
                more += 16 + 16 * methods
            at += (size + more + 7) // 8 * 8

    def implementing(self, interface: int) -> list[int]:
        """Addresses of the types that the program converts to an interface, of which this is the address.

        Those only that the linker knew; there may be more, made while it runs.
        """
        try:
            return sorted({kind for inter, kind in self._itabs() if inter == interface})
        except TruncatedError:
            return []

    def _itabs(self) -> Iterator[tuple[int, int]]:
        """(interface, type) of every itab that the linker made."""
        if not self.start:
            return
        if self._version >= (1, 27):
            words = self._elf.read(self._module.address + _ITAB_OFFSET, 16)
            at = self.start + int.from_bytes(words[:8], "little")
            end = at + int.from_bytes(words[8:], "little")
            while at < end:
                interface = self._elf.pointer(at)
                yield interface, self._elf.pointer(at + 8)
                at += 24 + 8 * max(1, self._methods(interface))
            return
        offset = next(offset for since, offset in _ITABLINKS if self._version >= since)
        links = self._elf.pointer(self._module.address + offset)
        count = int.from_bytes(self._elf.read(self._module.address + offset + 8, 8), "little")
        for index in range(min(count, _MOST_ITABS)):
            itab = self._elf.pointer(links + 8 * index)
            yield self._elf.pointer(itab), self._elf.pointer(itab + 8)

    def _methods(self, interface: int) -> int:
        """The number of an interface's methods: the length of the slice at 56."""
        return int.from_bytes(self._elf.read(interface + 64, 8), "little")

    def _read(self, address: int) -> GoType:
        if not address >= self.start > 0:
            raise TruncatedError(f"there is no type at {address:#x}")
        raw = self._elf.read(address, _SIZE)
        number = raw[_KIND] & _KIND_MASK
        if not 0 < number <= Kind.UNSAFE_POINTER:
            raise TruncatedError(f"there is no type at {address:#x}")
        kind, size = Kind(number), int.from_bytes(raw[:8], "little")
        common: dict[str, Any] = {
            "name": self._name_of(raw),
            "kind": kind,
            "size": size,
            "runtime_type": address - self.start,
            "place": address,
        }
        if kind in (Kind.POINTER, Kind.SLICE, Kind.CHAN):
            return GoType(**common, elem=self._elf.pointer(address + 48))
        if kind == Kind.ARRAY:
            count = int.from_bytes(self._elf.read(address + 64, 8), "little")
            return GoType(**common, elem=self._elf.pointer(address + 48), count=count)
        if kind == Kind.MAP:
            return GoType(**common, key=self._elf.pointer(address + 48), elem=self._elf.pointer(address + 56))
        if kind == Kind.INTERFACE:
            return GoType(**common, methods=self._methods(address) > 0)
        if kind == Kind.STRUCT:
            return GoType(**common, fields=tuple(self._fields(address)))
        return GoType(**common)

    def _fields(self, address: int) -> Iterator[Field]:
        start = self._elf.pointer(address + 56)
        count = int.from_bytes(self._elf.read(address + 64, 8), "little")
        for at in range(start, start + 24 * min(count, _MOST_FIELDS), 24):
            name, flags = self._text(self._elf.pointer(at))
            offset = int.from_bytes(self._elf.read(at + 16, 8), "little")
            if self._version < (1, 19):
                offset, embedded = offset >> 1, bool(offset & 1)
            else:
                embedded = bool(flags & _EMBEDDED)
            yield Field(name, offset, self._elf.pointer(at + 8), embedded)

    def _name_of(self, raw: bytes) -> str:
        text, _ = self._text(self.start + int.from_bytes(raw[_NAME : _NAME + 4], "little", signed=True))
        return text[1:] if raw[_FLAGS] & _EXTRA_STAR else text

    def _text(self, at: int) -> tuple[str, int]:
        """A name and its flags."""
        head = self._elf.read(at, min(_LONGEST, self._elf.available(at)))
        found = varint(head, 1)
        if found is None:
            return "", 0
        length, start = found
        return head[start : start + length].decode("utf-8", "surrogateescape"), head[0]
