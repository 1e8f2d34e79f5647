"""Struct layouts from the BTF inside the compiled object, as numpy dtypes.

Format: Documentation/bpf/btf.rst (Linux 6.18). Only what our own wire structs use is read: integers, enums,
arrays, structs, typedefs and qualifiers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
_VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO, _VAR, _DATASEC = 9, 10, 11, 12, 13, 14, 15
_FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = 16, 17, 18, 19
_TRAILER = {  # bytes after a type's head: (fixed, per member)
    _INT: (4, 0), _ARRAY: (12, 0), _STRUCT: (0, 12), _UNION: (0, 12), _ENUM: (0, 8), _FUNC_PROTO: (0, 8),
    _VAR: (4, 0), _DATASEC: (0, 12), _DECL_TAG: (4, 0), _ENUM64: (0, 12),
}  # fmt: skip


@dataclass(frozen=True)
class _Type:
    name: str
    kind: int
    members: int
    size: int  # or the id of the type referred to
    body: bytes


class Btf:
    """The types of one BPF object; raises ValueError where the bytes are not a little-endian BPF object."""

    def __init__(self, object_bytes: bytes) -> None:
        self._raw = _section(object_bytes, b".BTF")
        strings = _section(object_bytes, b".strtab")
        self._symbols = {
            strings[name : strings.index(b"\0", name)].decode(): value
            for name, value in struct.iter_unpack("<I4xQ8x", _section(object_bytes, b".symtab"))
        }
        self._header: tuple[int, int, int, int] = struct.unpack_from("<4xIIII", self._raw)

    @cached_property
    def _types(self) -> list[_Type]:
        raw = self._raw
        header, type_start, type_len, names = self._header
        at, end = header + type_start, header + type_start + type_len
        types = [_Type("void", 0, 0, 0, b"")]
        while at < end:
            name, info, size = struct.unpack_from("<III", raw, at)
            kind, members = info >> 24 & 31, info & 0xFFFF
            fixed, each = _TRAILER.get(kind, (0, 0))
            length = fixed + each * members
            types.append(
                _Type(self._name(header + names + name), kind, members, size, raw[at + 12 : at + 12 + length])
            )
            at += 12 + length
        return types

    def _name(self, at: int) -> str:
        return self._raw[at : self._raw.index(b"\0", at)].decode()

    def dtype(self, name: str) -> np.dtype[np.void]:
        """The numpy dtype of `struct name`, with the compiler's own offsets and size."""
        for found in self._types:
            if found.kind == _STRUCT and found.name == name:
                return self._struct(found)
        raise KeyError(f"struct {name} is not in the object's BTF")

    def variables(self, section: str) -> dict[str, tuple[int, int]]:
        """Variables of a data section such as ".rodata": name -> (offset, size in bytes)."""
        for found in self._types:
            if found.kind == _DATASEC and found.name == section:
                rows = struct.iter_unpack("<III", found.body)
                # the offsets in a DATASEC are left to the linker; the symbol table has them
                return {
                    self._types[kind].name: (self._symbols[self._types[kind].name], size)
                    for kind, _, size in rows
                }
        raise KeyError(f"section {section} is not in the object's BTF")

    def enum(self, name: str) -> dict[str, int]:
        """The names and values of `enum name`, in order."""
        header, _, _, names = self._header
        for found in self._types:
            if found.kind == _ENUM and found.name == name:
                return {
                    self._name(header + names + at): value
                    for at, value in struct.iter_unpack("<Ii", found.body)
                }
        raise KeyError(f"enum {name} is not in the object's BTF")

    def _struct(self, found: _Type) -> np.dtype[np.void]:
        header, _, _, names = self._header
        fields = [
            (self._name(header + names + name), self._field(kind), bits // 8)
            for name, kind, bits in struct.iter_unpack("<III", found.body)
        ]
        return np.dtype(
            {
                "names": [f[0] for f in fields],
                "formats": [f[1] for f in fields],
                "offsets": [f[2] for f in fields],
                "itemsize": found.size,
            }
        )

    def _field(self, index: int) -> object:
        found = self._types[index]
        if found.kind in (_TYPEDEF, _VOLATILE, _CONST):
            return self._field(found.size)
        if found.kind == _INT:
            signed = found.body[3] & 1
            return f"<{'i' if signed else 'u'}{found.size}"
        if found.kind == _ENUM:
            return f"<u{found.size}"
        if found.kind == _ARRAY:
            element, _, count = struct.unpack("<III", found.body)
            return (self._field(element), (count,))
        if found.kind == _STRUCT:
            return self._struct(found)
        raise ValueError(f"a field of BTF kind {found.kind} has no dtype")


def _section(elf: bytes, wanted: bytes) -> bytes:
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian 64-bit ELF object")
    (start,) = struct.unpack_from("<Q", elf, 40)
    size, count, strings = struct.unpack_from("<HHH", elf, 58)
    heads = [struct.unpack_from("<II16xQQ", elf, start + i * size) for i in range(count)]
    _, _, names, _ = heads[strings]
    for name, _, offset, length in heads:
        if elf[names + name : elf.index(b"\0", names + name)] == wanted:
            return elf[offset : offset + length]
    raise ValueError(f"no section {wanted.decode()}")
