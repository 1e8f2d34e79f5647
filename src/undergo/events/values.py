"""From the pieces of a capture to values: what a parameter or a result was."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

import numpy as np

from undergo.goexe.function import Source
from undergo.goexe.maps import MapLayout, Stored
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.types import COMPLEXES, POINTERS, SIGNED, UNSIGNED, GoType, Kind, Types
from undergo.plan.capture import Capture, FunctionCapture, Reading, Target
from undergo.plan.labels import PAIR
from undergo.plan.ops import whole_words


class PieceState(IntEnum):
    """enum piece_state of bpf/undergo.h."""

    READ = 0
    NIL = 1
    UNREADABLE = 2
    ABSENT = 3
    NO_ROOM = 4


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be read, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A bool, a number, or an address of something that is not looked into."""

    value: bool | int | float | complex


@dataclass(frozen=True, slots=True)
class Text:
    """A string or []byte: the bytes that were read, of `length`."""

    raw: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Several:
    """An array or a slice: the first of `length` elements."""

    items: tuple[Value, ...]
    length: int


@dataclass(frozen=True, slots=True)
class Struct:
    """Fields in order."""

    fields: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Pointer:
    """An address, and what is there if it was followed."""

    address: int
    target: Value = None
    followed: bool = False


@dataclass(frozen=True, slots=True)
class Sized:
    """A channel's number of elements and its capacity, or the number of entries of a map that is not looked into."""

    length: int
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """A map: some of `length` entries."""

    items: tuple[tuple[Value, Value], ...]
    length: int


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What an interface holds: the name of its type, its data word, and the value if the type was known then."""

    type: str
    data: int
    value: Value = None
    of: GoType | None = None  # the value's type, None if it is not known
    types: Types | None = None  # what that is made of


@dataclass(frozen=True, slots=True)
class Func:
    """A function value, by the name of its code."""

    name: str


NIL: Final = None
Value = Missing | Scalar | Text | Several | Struct | Pointer | Sized | Entries | Dynamic | Func | None


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter or a result with its value."""

    name: str
    type: GoType
    value: Value


@dataclass(frozen=True, slots=True)
class Captured:
    """The arguments or results of one call."""

    id: int  # of the call
    func: int
    at_exit: bool
    arguments: tuple[Argument, ...]
    labels: tuple[tuple[Value, Value], ...] = ()  # of the goroutine, at the entry
    stack: tuple[Source, ...] = ()  # who called it, innermost first

    @property
    def failed(self) -> bool:
        """Whether the last thing that the call gave back is an error that is not nil."""
        if not self.at_exit or not self.arguments:
            return False
        last = self.arguments[-1]
        return last.type.name == "error" and last.value is not None and not isinstance(last.value, Missing)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What addresses mean in one executable, as linked, and what is read of values in interfaces."""

    types: RuntimeTypes
    maps: MapLayout
    function_at: Callable[[int], str]
    stack: Callable[[Sequence[int]], Sequence[Source]] = lambda _: ()
    #: by the address of the type; grows as types are met
    dynamic: dict[int, Capture] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)  # that nothing is known of
    unknown: set[int] = field(default_factory=set)  # types that were met and are not among them


_KEPT: Final = 100_000  # calls of generic functions that have not returned
_ONE, _TWO, _THREE = (struct.Struct(f"<{words}Q") for words in (1, 2, 3))
#: What leads elsewhere, as it is in memory.
_WORDS: Final = {
    Kind.STRING: _TWO, Kind.SLICE: _THREE, Kind.INTERFACE: _TWO, **dict.fromkeys(POINTERS, _ONE)
}  # fmt: skip
_FLOATS: Final = {4: "<f", 8: "<d"}
_WHY: Final = {
    PieceState.UNREADABLE: "not resident",
    PieceState.ABSENT: "not read",
    PieceState.NO_ROOM: "too much for one event",
}


class CaptureDecoder:
    """Turns records of the captures' ring into `Captured`."""

    def __init__(
        self,
        functions: Mapping[int, tuple[FunctionCapture, Types, Runtime]],
        record: np.dtype[np.void],
    ) -> None:
        """`functions` by FunctionPlan.id; `record` is struct capture_record."""
        self._functions = functions
        self._named: dict[int, tuple[str, ...]] = {}  # by call: what the types of its results are
        places = {name: record.fields[name] for name in record.names or ()} if record.fields else {}
        self._bytes = int(places["bytes"][1])  # where the pieces begin
        sizes = [places[name][0].itemsize for name in ("id", "bias", "func", "at_exit", "pieces")]
        self._head = struct.Struct("<" + "".join({2: "H", 4: "I", 8: "Q"}[size] for size in sizes))

    def feed(self, records: Sequence[bytes], functions: Collection[int] | None = None) -> Iterator[Captured]:
        """The captures, in the order of the ring; of these functions (FunctionPlan.id), or of all."""
        for raw in records:
            if functions is None or (len(raw) >= self._bytes and self._head.unpack_from(raw)[2] in functions):
                found = self.one(raw)
                if found is not None:
                    yield found

    def whose(self, raw: bytes) -> tuple[int, bool]:
        """The call, and whether it is about its return; of a record that `one` could be asked for."""
        call, _, _, at_exit, _ = self._head.unpack_from(raw)
        return call, bool(at_exit)

    def one(self, raw: bytes) -> Captured | None:
        """A single one, of a call's return after that of its entry; None if it is nothing that was asked for."""
        if len(raw) < self._bytes:
            return None
        call, bias, func, at_exit, count = self._head.unpack_from(raw)
        known = self._functions.get(func)
        capture = None if known is None else known[0].exit if at_exit else known[0].entry
        if known is None or capture is None:
            return None
        _, types, runtime = known
        values = _Values(_pieces(raw, self._bytes, count), types, runtime, bias)
        found = tuple([values.argument(reading) for reading in capture.readings])
        if capture.results_named:
            self._named[call] = tuple(map(values.type_name, capture.results_named))
            if len(self._named) > _KEPT:
                del self._named[next(iter(self._named))]
        elif at_exit and call in self._named:
            names = self._named.pop(call)
            found = tuple(_called(one, name) for one, name in zip(found, names, strict=True))
        labels = tuple(values.labels(capture.labels)) if capture.labels else ()
        stack = tuple(runtime.stack(values.addresses(capture.stack))) if capture.stack else ()
        return Captured(call, func, bool(at_exit), found, labels, stack)


def _called(argument: Argument, name: str) -> Argument:
    return replace(argument, type=replace(argument.type, name=name)) if name else argument


_STATES: Final = tuple(PieceState)
_PIECE: Final = struct.Struct("<II")  # struct piece: length, state


def _pieces(raw: bytes, at: int, count: int) -> list[tuple[PieceState, bytes]]:
    found: list[tuple[PieceState, bytes]] = []
    append, unpack, size = found.append, _PIECE.unpack_from, len(raw)
    for _ in range(count):
        if at + 8 > size:
            break
        length, state = unpack(raw, at)
        at += 8
        append((_STATES[state], raw[at : at + length]))
        at += length + 7 & ~7
    return found


class _Values:
    def __init__(
        self,
        pieces: Sequence[tuple[PieceState, bytes]],
        types: Types,
        runtime: Runtime,
        bias: int,
        own: int = 0,
        base: int = 1,
    ) -> None:
        """`own` is what the description calls piece 0, `base` what it calls piece 1."""
        self._pieces, self._types, self._runtime, self._bias = pieces, types, runtime, bias
        self._own, self._base = own, base

    def argument(self, reading: Reading) -> Argument:
        of, parts = reading.parameter.type, reading.parts
        if len(parts) == 1 and reading.named is None and parts[0].piece is not None:
            # most are in one place as a whole
            state, data = self._piece(parts[0].piece)
            begin, end = parts[0].at, parts[0].at + of.size
            if state == PieceState.READ and end <= len(data) and parts[0].size == of.size:
                whole = self._value(of, data[begin:end], 0, reading.inside, {})
                return Argument(reading.parameter.name, of, whole)
        raw = bytearray(of.size)
        missing: dict[int, str] = {}
        for part in parts:
            if part.piece is None:
                missing[part.offset] = part.why
                continue
            state, data = self._piece(part.piece)
            if state != PieceState.READ or part.at + part.size > len(data):
                missing[part.offset] = _WHY.get(state, "not read")
                continue
            raw[part.offset : part.offset + part.size] = data[part.at : part.at + part.size]
        value: Value
        if missing and not reading.in_registers:
            value = Missing(missing[0])
        else:
            value = self._value(of, bytes(raw), 0, reading.inside, missing)
        return _called(Argument(reading.parameter.name, of, value), self.type_name(reading.named))

    def type_name(self, piece: int | None) -> str:
        """The name of the type whose descriptor's address is in a piece; "" if that is not known."""
        state, data = self._piece(piece) if piece is not None else (PieceState.ABSENT, b"")
        address = int.from_bytes(data, "little") if state == PieceState.READ else 0
        return self._runtime.types.name(address - self._bias) if address else ""

    def _piece(self, number: int) -> tuple[PieceState, bytes]:
        at = self._base + number - 1 if number else self._own
        return self._pieces[at] if at < len(self._pieces) else (PieceState.NO_ROOM, b"")

    def _value(
        self, of: GoType, raw: bytes, at: int, inside: Mapping[int, Target], missing: Mapping[int, str]
    ) -> Value:
        """The value of a type at an offset in bytes; `missing` are offsets of which nothing is known."""
        kind = of.kind
        if kind == Kind.STRUCT:
            types, value = self._types, self._value
            return Struct(
                tuple(
                    [(f.name, value(types[f.type], raw, at + f.offset, inside, missing)) for f in of.fields]
                )
            )
        if kind == Kind.ARRAY:
            return self._array(of, raw, at, inside, missing)
        if at in missing or at + of.size > len(raw):
            return Missing(missing.get(at, "not read"))
        words = _WORDS.get(kind)
        if words is not None:
            if at + words.size > len(raw):
                return Missing("not read")
            return self._pointing(of, words.unpack_from(raw, at), inside.get(at))
        if kind in COMPLEXES:
            half = of.size // 2
            if at + half in missing:
                return Missing(missing[at + half])
            real, imaginary = (struct.unpack_from(_FLOATS[half], raw, at + n * half)[0] for n in (0, 1))
            return Scalar(complex(real, imaginary))
        if kind in (Kind.FLOAT32, Kind.FLOAT64):
            return Scalar(struct.unpack_from(_FLOATS[of.size], raw, at)[0])
        if kind == Kind.BOOL:
            return Scalar(bool(raw[at]))
        if kind in SIGNED or kind in UNSIGNED:
            return Scalar(int.from_bytes(raw[at : at + of.size], "little", signed=kind in SIGNED))
        return Missing("of no known kind")

    def _array(
        self, of: GoType, raw: bytes, at: int, inside: Mapping[int, Target], missing: Mapping[int, str]
    ) -> Value:
        elem = self._types[of.elem]
        if elem.kind == Kind.UINT8 and at + of.size <= len(raw) and (at not in missing or not of.size):
            return Text(raw[at : at + of.size], of.count)
        items = []
        for index in range(of.count):
            start = at + index * elem.size
            if start + elem.size > len(raw):
                break
            items.append(self._value(elem, raw, start, inside, missing))
        return Several(tuple(items), of.count)

    def _pointing(self, of: GoType, words: Sequence[int], target: Target | None) -> Value:
        """A value that leads elsewhere; `target` is what was read there."""
        kind = of.kind
        state, data = self._piece(target.piece) if target is not None else (PieceState.ABSENT, b"")
        if kind in (Kind.STRING, Kind.SLICE):
            return self._counted(of, words, target, state, data)
        if kind == Kind.INTERFACE:
            return self._interface(words, target)
        if not words[0]:
            return NIL
        if kind == Kind.POINTER:
            if target is None:
                return Pointer(words[0])
            if state != PieceState.READ:
                return Pointer(words[0], Missing(_WHY.get(state, "not read")), True)
            return Pointer(words[0], self._value(target.type, data, 0, target.inside, {}), True)
        if kind == Kind.UNSAFE_POINTER or target is None:
            return Pointer(words[0])
        if state != PieceState.READ or len(data) < 8:
            return Missing(_WHY.get(state, "not read"))
        first = int.from_bytes(data[:8], "little")
        if kind == Kind.MAP:
            return self._map(first, target.inside.get(0))
        if kind == Kind.CHAN:
            return Sized(first, int.from_bytes(data[8:16], "little"))
        return Func(self._runtime.function_at(first - self._bias))

    def _counted(
        self, of: GoType, words: Sequence[int], target: Target | None, state: PieceState, data: bytes
    ) -> Value:
        length = words[1]
        if of.kind == Kind.SLICE and not words[0]:
            return NIL
        if length >= 1 << 47:
            return Missing("not a length that can be")
        of_bytes = of.kind == Kind.STRING or self._types[of.elem].kind == Kind.UINT8
        if not length:
            return Text(b"", 0) if of_bytes else Several((), 0)
        if of.kind == Kind.SLICE and not self._types[of.elem].size:
            return Several((), length)  # there is nothing to read
        if state != PieceState.READ or target is None:
            return Missing(_WHY.get(state, "not read"))
        elem = target.type
        if of_bytes:
            return Text(data, length)
        count = len(data) // elem.size if elem.size else 0
        items = (self._value(elem, data, n * elem.size, target.inside, {}) for n in range(count))
        return Several(tuple(items), length)

    def addresses(self, piece: int | None) -> list[int]:
        """The return addresses in a piece, as linked."""
        if piece is None:
            return []
        _, data = self._piece(piece)
        return [address - self._bias for (address,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8])]

    def labels(self, pieces: Sequence[tuple[int, int, int]]) -> Iterator[tuple[Value, Value]]:
        """Keys and values; each of `pieces` is the one with all of them, the one with its key, and its value."""
        for index, (pairs, *texts) in enumerate(pieces):
            _, data = self._piece(pairs)
            if len(data) < PAIR * (index + 1):
                return
            lengths = struct.unpack_from("<8xQ8xQ", data, PAIR * index)
            key, value = (self._label(*each) for each in zip(texts, lengths, strict=True))
            yield key, value

    def _label(self, piece: int, length: int) -> Value:
        state, data = self._piece(piece)
        return Text(data, length) if state == PieceState.READ else Missing(_WHY.get(state, "not read"))

    def _map(self, length: int, entries: Target | None) -> Value:
        if entries is None or entries.slots is None or not length:
            return Sized(length) if length else Entries((), 0)
        state, data = self._piece(entries.piece)
        if state in (PieceState.UNREADABLE, PieceState.NO_ROOM) and not data:
            return Sized(length)
        found, at = [], 0
        keys, elems = entries.slots.keys, entries.slots.elems
        step = whole_words(keys.size) + whole_words(elems.size)
        # an entry of no bytes at all leaves none
        count = len(data) // step if step else 1
        for _ in range(count):
            key = self._stored(keys, data, at, entries.inside)
            found.append((key, self._stored(elems, data, at + whole_words(keys.size), entries.inside)))
            at += step
        return Entries(tuple(found), length)

    def _stored(self, of: Stored, data: bytes, at: int, inside: Mapping[int, Target]) -> Value:
        if not of.indirect:
            return self._value(of.type, data, at, inside, {})
        state, data = self._piece(inside[at].piece) if at in inside else (PieceState.ABSENT, b"")
        if state != PieceState.READ:
            return Missing(_WHY.get(state, "not read"))
        return self._value(of.type, data, 0, inside[at].inside, {})

    def _interface(self, words: Sequence[int], target: Target | None) -> Value:
        if not words[0]:
            return NIL
        state, data = self._piece(target.piece) if target is not None else (PieceState.ABSENT, b"")
        if target is None or state != PieceState.READ or len(data) < 24:
            return Missing(_WHY.get(state, "not read"))
        described, word, first = struct.unpack_from("<3Q", data)
        name, capture = self._runtime.types.name(described), self._runtime.dynamic.get(described)
        if capture is None or not first:
            self._runtime.unknown.add(described)
            return Dynamic(name, word)
        types = self._runtime.types
        own = self._base + target.piece - 1
        inner = _Values(self._pieces, types, self._runtime, self._bias, own, first)
        found = inner.argument(capture.readings[0])
        return Dynamic(name, word, found.value, found.type, types)
