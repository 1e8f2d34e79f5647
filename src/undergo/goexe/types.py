"""Go types as the debug information describes them, and the signatures of functions.

Go's own attributes say what DWARF has no word for (cmd/internal/dwarf, dwarf.go; Go 1.17 to 1.27): DW_AT_go_kind
0x2900 is reflect.Kind, DW_AT_go_key 0x2901, DW_AT_go_elem 0x2902, DW_AT_go_runtime_type 0x2904. A named type is a
typedef with the name, an unnamed struct or pointer has its own entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from undergo.varint import varint

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_GO_KIND, _GO_KEY, _GO_ELEM, _GO_RUNTIME_TYPE = 0x2900, 0x2901, 0x2902, 0x2904


class Kind(IntEnum):
    """reflect.Kind, the same in all versions."""

    INVALID = 0
    BOOL = 1
    INT = 2
    INT8 = 3
    INT16 = 4
    INT32 = 5
    INT64 = 6
    UINT = 7
    UINT8 = 8
    UINT16 = 9
    UINT32 = 10
    UINT64 = 11
    UINTPTR = 12
    FLOAT32 = 13
    FLOAT64 = 14
    COMPLEX64 = 15
    COMPLEX128 = 16
    ARRAY = 17
    CHAN = 18
    FUNC = 19
    INTERFACE = 20
    MAP = 21
    POINTER = 22
    SLICE = 23
    STRING = 24
    STRUCT = 25
    UNSAFE_POINTER = 26


SIGNED: Final = frozenset({Kind.INT, Kind.INT8, Kind.INT16, Kind.INT32, Kind.INT64})
UNSIGNED: Final = frozenset({Kind.UINT, Kind.UINT8, Kind.UINT16, Kind.UINT32, Kind.UINT64, Kind.UINTPTR})
FLOATS: Final = frozenset({Kind.FLOAT32, Kind.FLOAT64})
COMPLEXES: Final = frozenset({Kind.COMPLEX64, Kind.COMPLEX128})
#: One word that points somewhere.
POINTERS: Final = frozenset({Kind.POINTER, Kind.MAP, Kind.CHAN, Kind.FUNC, Kind.UNSAFE_POINTER})


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct."""

    name: str
    offset: int  # bytes
    type: int  # the place of its type, to ask a TypeTable for
    embedded: bool = False


@dataclass(frozen=True, slots=True)
class GoType:
    """One type. What it is made of is said by places, which a TypeTable knows: types may contain themselves."""

    name: str  # "main.Item", "[]string"
    kind: Kind
    size: int  # bytes
    elem: int = 0  # place of the element's type: of an array, a slice, a pointer, a map, a channel
    key: int = 0  # place of a map's key
    count: int = 0  # elements of an array
    fields: tuple[Field, ...] = ()
    layout: int = 0  # place of the struct that a map or channel points to
    methods: bool = False  # an interface with methods, so its first word is an itab
    runtime_type: int = 0  # offset of its descriptor from the start of the types, 0 if unknown
    #: in generic code, which word of the function's dictionary points to the descriptor of what it really is
    dictionary: int | None = None
    place: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or a result."""

    name: str  # "" if it has none
    type: GoType
    #: DWARF number of the register its first word is in at the function's entry; None where that is not said
    register: int | None = None
    #: bytes from the CFA to its place on the stack, which may be but a place to spill to; None where that is not said
    stack: int | None = None
    on_stack: bool = False  # it is there at the function's entry


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters, receiver first, and its results."""

    parameters: tuple[Parameter, ...]
    results: tuple[Parameter, ...]


class Types(Protocol):
    """Types by their places, which other types name."""

    def __getitem__(self, place: int, /) -> GoType: ...


class TypeTable:
    """Types by the place of their entry, each read once. Methods raise whatever pyelftools does on damage."""

    def __init__(self, constants: Callable[[int], Mapping[int, str]] = lambda _: {}) -> None:
        """`constants` finds those of the type at a place."""
        self._constants = constants
        self._named: dict[int, Mapping[int, str]] = {}
        self._known: dict[int, GoType] = {}
        self._entries: dict[int, DIE] = {}

    def __getitem__(self, place: int) -> GoType:
        """The type at a place that a type of this table has named."""
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._read(self._entries[place])
        return known

    def constant(self, of: GoType, value: int) -> str:
        """The name of a constant of a named integer type that has this value; "" if there is none."""
        if "." not in of.name or (of.kind not in SIGNED and of.kind not in UNSIGNED):
            return ""
        if of.place not in self._named:
            self._named[of.place] = self._constants(of.place)
        return self._named[of.place].get(value, "")

    def known(self) -> list[GoType]:
        """The types that were read so far."""
        return list(self._known.values())

    def of(self, entry: DIE) -> GoType:
        """The type an entry describes."""
        self._entries.setdefault(entry.offset, entry)
        return self[entry.offset]

    def _place(self, entry: DIE, attribute: str | int) -> int:
        """The place of the type an attribute refers to, 0 if there is none."""
        if attribute not in entry.attributes:
            return 0
        if isinstance(attribute, int):
            # an attribute pyelftools has no name for, of the form DW_FORM_ref_addr
            target = entry.dwarfinfo.get_DIE_from_refaddr(entry.attributes[attribute].value)
        else:
            target = entry.get_DIE_from_attribute(attribute)
        self._entries.setdefault(target.offset, target)
        return int(target.offset)

    def _read(self, entry: DIE) -> GoType:
        name, kind = _text(entry), _number(entry, _GO_KIND)
        runtime_type = _number(entry, _GO_RUNTIME_TYPE)
        base = entry
        seen = 0
        while base.tag == "DW_TAG_typedef" and seen < 8:
            # the innermost says what it is; a map's or channel's typedef has the key and element itself
            kind = kind or _number(base, _GO_KIND)
            runtime_type = runtime_type or _number(base, _GO_RUNTIME_TYPE)
            if _number(base, _GO_KIND) in (Kind.MAP, Kind.CHAN) or "DW_AT_type" not in base.attributes:
                break
            base = base.get_DIE_from_attribute("DW_AT_type")
            seen += 1
        kind = kind or _number(base, _GO_KIND) or _kind_of_tag(base)
        parametric = _GO_DICT_INDEX in entry.attributes  # a typedef ".param0" of the shape it has
        dictionary = _number(entry, _GO_DICT_INDEX) if parametric else None
        name = _shape(_text(entry.get_DIE_from_attribute("DW_AT_type")) if parametric else name)
        size = _SIZES.get(Kind(kind), 8)
        if "DW_AT_byte_size" in base.attributes:
            size = _number(base, "DW_AT_byte_size")  # 0 of [0]int
        common: dict[str, Any] = {
            "name": name,
            "runtime_type": runtime_type,
            "dictionary": dictionary,
            "place": int(entry.offset),
        }
        if kind in (Kind.MAP, Kind.CHAN):
            pointer = base.get_DIE_from_attribute("DW_AT_type")
            layout = self._place(pointer, "DW_AT_type") if pointer.tag == "DW_TAG_pointer_type" else 0
            return GoType(
                **common,
                kind=Kind(kind),
                size=8,
                elem=self._place(base, _GO_ELEM),
                key=self._place(base, _GO_KEY),
                layout=layout,
            )
        if kind == Kind.ARRAY:
            count = next((_number(c, "DW_AT_count") for c in base.iter_children()), 0)
            return GoType(
                **common, kind=Kind.ARRAY, size=size, elem=self._place(base, "DW_AT_type"), count=count
            )
        if kind == Kind.SLICE:
            return GoType(**common, kind=Kind.SLICE, size=24, elem=self._place(base, _GO_ELEM))
        if kind == Kind.POINTER:
            elem = 0 if _text(base).startswith(_ANY_POINTER) else self._place(base, "DW_AT_type")
            return GoType(**common, kind=Kind.POINTER, size=8, elem=elem)
        if kind == Kind.STRUCT:
            return GoType(
                **common,
                kind=Kind.STRUCT,
                size=_number(base, "DW_AT_byte_size"),
                fields=tuple(self._fields(base)),
            )
        if kind == Kind.INTERFACE:
            # base is runtime.iface or runtime.eface
            return GoType(**common, kind=Kind.INTERFACE, size=16, methods=not _text(base).endswith("eface"))
        return GoType(**common, kind=Kind(kind), size=size)

    def _fields(self, structure: DIE) -> Iterator[Field]:
        for child in structure.iter_children():
            if child.tag == "DW_TAG_member":
                yield Field(
                    _text(child),
                    member_offset(child.attributes["DW_AT_data_member_location"].value),
                    self._place(child, "DW_AT_type"),
                    bool(_number(child, _GO_EMBEDDED)),
                )


_GO_EMBEDDED: Final = 0x2903
_GO_DICT_INDEX: Final[Any] = 0x2906
_SHAPE: Final = "go.shape."
_ANY_POINTER: Final = "go.shape.*uint8"  # what code of generic functions takes every pointer for
_SIZES: Final[Mapping[Kind, int]] = {
    **dict.fromkeys((Kind.BOOL, Kind.INT8, Kind.UINT8), 1),
    **dict.fromkeys((Kind.INT16, Kind.UINT16), 2),
    **dict.fromkeys((Kind.INT32, Kind.UINT32, Kind.FLOAT32), 4),
    **dict.fromkeys((Kind.STRING, Kind.INTERFACE, Kind.COMPLEX128), 16),
    Kind.SLICE: 24,
}


def _shape(name: str) -> str:
    """A type's name without the marks of generic code: "[]go.shape.int" is "[]int", up to Go 1.19 "go.shape.int_0"."""
    if _SHAPE not in name:
        return name
    return re.sub(r"_\d+(?=[],]|$)", "", name.replace(_ANY_POINTER, "pointer").replace(_SHAPE, ""))


def _kind_of_tag(entry: DIE) -> int:
    """Of entries without DW_AT_go_kind, such as types the linker made up."""
    if entry.tag == "DW_TAG_pointer_type":
        return Kind.POINTER if "DW_AT_type" in entry.attributes else Kind.UNSAFE_POINTER
    tags: Mapping[Any, int] = {
        "DW_TAG_structure_type": Kind.STRUCT,
        "DW_TAG_array_type": Kind.ARRAY,
        "DW_TAG_subroutine_type": Kind.FUNC,
    }
    return tags.get(entry.tag, Kind.INVALID)


def member_offset(value: int | list[int]) -> int:
    """A member's offset: a constant, or up to Go 1.21 an expression (DW_OP_plus_uconst N)."""
    if isinstance(value, int):
        return value
    if value and value[0] == 0x23 and (found := varint(bytes(value), 1)) is not None:
        return found[0]
    raise ValueError("a member at an unknown kind of place")


def _text(entry: DIE) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "surrogateescape") if attribute is not None else ""


def _number(entry: DIE, attribute: str | int) -> int:
    attributes: Mapping[Any, Any] = entry.attributes  # those pyelftools has no name for have numbers
    found = attributes.get(attribute)
    return int(found.value) if found is not None and isinstance(found.value, int) else 0
