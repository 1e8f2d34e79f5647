"""What to read of arguments and results: from types and places to a list of ops, and how to make sense of them.

The ops are run in the kernel (bpf/fetch.bpf.h), in order; each leaves one piece. What an op reads may be where an
earlier piece points, so what lies near comes first, and where there are too many it is the far ends that are left out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from undergo.goexe.abi import INTEGER_REGISTERS, REGISTER_NAMES, Assigned, assign
from undergo.goexe.maps import MapLayout, MapSlots, map_slots
from undergo.goexe.types import POINTERS, GoType, Kind, Parameter, Signature, Types
from undergo.plan.filter_expression import Path, parse_path
from undergo.plan.labels import MOST_LABELS, NO_LABELS, PAIR, label_ops
from undergo.plan.ops import FRAME_POINTER_AT, MOST, MOST_FRAMES, PIECES, REGISTERS, Op, OpKind, whole_words
from undergo.plan.paths import Resolver, Subject

_DATA_WORD: Final = 8  # where struct dynamic_piece has it
#: What is read of a map itself: runtime.hmap or internal/runtime/maps.Map; both have the way to the groups at 16.
_MAP_HEAD: Final = 32
_MAP_GROUPS: Final = 16
_TYPE_OF_ITAB: Final = 8  # internal/abi/iface.go: ITab.Type, after Inter


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read."""

    string: int = 64  # bytes of a string or []byte
    depth: int = 2  # pointers that are followed one after the other
    elements: int = 3  # of slices, arrays and maps


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read of calls."""

    args: bool = False
    results: bool = False
    labels: bool = False  # of the goroutine, at the entry
    stacks: bool = False  # who called it, at the entry
    paths: tuple[str, ...] = ()  # values that are named one by one


@dataclass(frozen=True, slots=True)
class Target:
    """What a value points to: a piece that holds values of a type, and what these point to, by offset in the piece."""

    piece: int
    type: GoType
    inside: Mapping[int, Target]
    slots: MapSlots | None = None  # the piece has entries of a map, each a key and an element in whole words


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a value: where they go, and in which piece they are."""

    offset: int
    size: int
    piece: int | None  # None: they are not read
    at: int = 0
    why: str = ""  # they are not read


@dataclass(frozen=True, slots=True)
class Reading:
    """One parameter or result."""

    parameter: Parameter
    parts: tuple[Part, ...]
    inside: Mapping[int, Target]  # by offset in the value
    in_registers: bool = False  # each part in one; else it is one part
    named: int | None = None  # the piece with the address of the descriptor of what its type really is


@dataclass(frozen=True, slots=True)
class Capture:
    """What is read at one place of a function."""

    ops: tuple[Op, ...]
    readings: tuple[Reading, ...]
    #: ops that would have been too many, by the name of the parameter or result
    left_out: Mapping[str, int] = field(default_factory=dict)
    interfaces: frozenset[int] = (
        frozenset()
    )  # GoType.runtime_type of the interfaces with methods that are read
    results_named: tuple[int | None, ...] = ()  # at entry: Reading.named of the results to come
    labels: tuple[tuple[int, int, int], ...] = ()  # of each the pieces with all of them, its key, its value
    stack: int | None = None  # the piece with the return addresses


@dataclass(frozen=True, slots=True)
class FunctionCapture:
    """What is read of one function, None where nothing is."""

    entry: Capture | None = None
    exit: Capture | None = None


def capture_of(of: Subject, limits: Limits, asked: Asked) -> FunctionCapture:
    """The captures of a function. Raises UsageError, with a caret, for a path that it does not have."""
    at_entry, at_exit = assign(of.signature.parameters, of.signature.results, of.types)
    given = {one.parameter.name for one in at_entry}
    paths = [(parse_path(text, "--show"), text) for text in asked.paths]
    early = [pair for pair in paths if pair[0].label is not None or pair[0].names[0] in given]
    late = [pair for pair in paths if pair not in early]
    entry, exit_ = _Builder(of, limits), _Builder(of, limits)
    return FunctionCapture(
        entry.capture(
            at_entry, at_entry if asked.args else (), early, at_exit if asked.results else (), asked
        )
        if asked.args or asked.labels or asked.stacks or early
        else None,
        exit_.capture(of.assigned()[1], at_exit if asked.results else (), late)
        if asked.results or late
        else None,
    )


def registers(asked: Asked) -> tuple[FunctionCapture, Types]:
    """The registers themselves, of a function of which nothing is known, and the type they have."""
    word = GoType("uintptr", Kind.UINTPTR, 8)
    readings = tuple(
        Reading(Parameter(name, word), (Part(0, 8, REGISTERS, 8 * number),), {})
        for number, name in enumerate(REGISTER_NAMES)
    )
    capture = Capture((), readings)
    return FunctionCapture(capture if asked.args else None, capture if asked.results else None), {0: word}


def dynamic_capture(of: GoType, types: Types, limits: Limits, maps: MapLayout) -> Capture:
    """What is read of a value of a type that an interface holds.

    To its ops the piece with the type and the data word is number 0. Pointers, and what consists of one, are
    themselves in the data word; it points to everything else.
    """
    builder = _Builder(Subject("", Signature((), ()), types, maps, NO_LABELS), limits)
    inside: dict[int, Target] = {}
    number, start = 0, _DATA_WORD
    if not _is_direct(of, types) and of.size:
        found = builder.add(Op(OpKind.POINTED, 0, _DATA_WORD, min(of.size, MOST)))
        number, start = found or 0, 0
    builder.pending.append(_Pending(of, number, _shifted(start), inside, 0, max(limits.depth - 1, 1), ""))
    builder.follow()
    reading = Reading(Parameter("", of), (Part(0, of.size, number, start),), inside)
    return Capture(tuple(builder.ops), (reading,), builder.left_out, frozenset(builder.interfaces))


def _is_direct(of: GoType, types: Types) -> bool:
    """Whether an interface holds the value itself (cmd/compile, types.IsDirectIface)."""
    if of.kind == Kind.STRUCT:
        return len(of.fields) == 1 and _is_direct(types[of.fields[0].type], types)
    if of.kind == Kind.ARRAY:
        return of.count == 1 and _is_direct(types[of.elem], types)
    return of.kind in POINTERS


@dataclass(slots=True)
class _Pending:
    """A value whose pointers are still to be followed."""

    type: GoType
    piece: int
    at: Callable[[int], int | None]  # from an offset in the value to one in the piece
    inside: dict[int, Target]
    base: int  # offset of the value among what `inside` counts from
    depth: int
    root: str  # the parameter or result that it is a part of


@dataclass(slots=True)
class _Builder:
    of: Subject
    limits: Limits
    ops: list[Op] = field(default_factory=list)
    root: str = ""  # what is being looked at
    left_out: Counter[str] = field(default_factory=Counter)
    interfaces: set[int] = field(default_factory=set)
    pending: deque[_Pending] = field(default_factory=deque)

    @property
    def types(self) -> Types:
        return self.of.types

    def capture(
        self,
        there: Sequence[Assigned],
        wanted: Sequence[Assigned],
        paths: Sequence[tuple[Path, str]],
        to_come: Sequence[Assigned] = (),
        asked: Asked | None = None,
    ) -> Capture:
        """Of what is `there` at this place, what is wanted, as a whole or by path; results are `to_come`."""
        given = [one for one in wanted if one.parameter.name != ".dict"]
        dictionary = next((one for one in there if one.parameter.name == ".dict"), None)
        stack = self.stack() if asked and asked.stacks else None
        pairs = self.labels() if asked and asked.labels else ()
        readings = self.readings(given) + [self.path(there, *each) for each in paths]
        named = self.named(dictionary, [*given, *to_come])
        readings[: len(given)] = [
            replace(reading, named=piece) for reading, piece in zip(readings, named, strict=False)
        ]
        self.follow()
        return Capture(
            tuple(self.ops),
            tuple(readings),
            self.left_out,
            frozenset(self.interfaces),
            tuple(named[len(given) :]),
            pairs,
            stack,
        )

    def path(self, there: Sequence[Assigned], path: Path, text: str) -> Reading:
        """One value that was named by its path."""
        resolver = Resolver(self.of, there, text, "--show", self.ops)
        direct = resolver.direct(path)
        if direct is not None:
            return self.readings([direct])[0]
        kind, place = resolver.resolve(path)
        inside: dict[int, Target] = {}
        self.pending.append(
            _Pending(kind, place.piece, _shifted(place.at), inside, 0, self.limits.depth, str(path))
        )
        parts = (Part(0, kind.size, place.piece, place.at),)
        return Reading(Parameter(str(path), kind), parts, inside)

    def stack(self) -> int | None:
        """Reads return addresses."""
        return self.add(Op(OpKind.FRAMES, REGISTERS, FRAME_POINTER_AT, wanted=MOST_FRAMES))

    def labels(self) -> tuple[tuple[int, int, int], ...]:
        """Reads the goroutine's labels."""
        numbers = [self.add(op) for op in label_ops(self.of.labels, len(self.ops) + 1)]
        found, pairs = [], numbers[-1]
        for index in range(MOST_LABELS):
            parts = [
                self.add(Op(OpKind.COUNTED, pairs or 0, PAIR * index + at, min(self.limits.string, MOST), 1))
                for at in (0, PAIR // 2)
            ]
            if pairs and parts[0] and parts[1]:
                found.append((pairs, parts[0], parts[1]))
        return tuple(found)

    def readings(self, assigned: Sequence[Assigned]) -> list[Reading]:
        on_stack = [one for one in assigned if one.stack is not None and one.parameter.type.size]
        low = min((one.stack or 0 for one in on_stack), default=0)
        stack = None
        if on_stack:
            high = max((one.stack or 0) + one.parameter.type.size for one in on_stack)
            stack = self.add(Op(OpKind.STACK, size=min(high - low, MOST), offset=low))
        return [self.reading(one, stack, low) for one in assigned]

    def reading(self, one: Assigned, stack: int | None, low: int) -> Reading:
        inside: dict[int, Target] = {}
        of = one.parameter.type
        if not of.size:
            return Reading(one.parameter, (), inside)
        if one.stack is not None:
            start = one.stack - low
            fits = stack is not None and start + of.size <= MOST
            parts: tuple[Part, ...] = (
                Part(0, of.size, stack, start) if fits else Part(0, of.size, None, why="too large"),
            )
            if stack is not None and fits:
                self.pending.append(
                    _Pending(
                        of,
                        stack,
                        lambda offset: start + offset,
                        inside,
                        0,
                        self.limits.depth,
                        one.parameter.name,
                    )
                )
            return Reading(one.parameter, parts, inside)
        places: dict[int, int] = {}
        parts = ()
        for piece in one.pieces:
            if piece.register is None:
                parts += (Part(piece.offset, piece.size, None, why="in an XMM register"),)
                continue
            places[piece.offset] = 8 * INTEGER_REGISTERS.index(piece.register)
            parts += (Part(piece.offset, piece.size, REGISTERS, places[piece.offset]),)
        self.pending.append(
            _Pending(of, REGISTERS, places.get, inside, 0, self.limits.depth, one.parameter.name)
        )
        return Reading(one.parameter, parts, inside, in_registers=True)

    def named(self, dictionary: Assigned | None, assigned: Sequence[Assigned]) -> list[int | None]:
        """For each the piece with what its dictionary says its type is; None of types that are not parametric."""
        found: list[int | None] = []
        for one in assigned:
            index = one.parameter.type.dictionary
            register = dictionary.pieces[0].register if dictionary and dictionary.pieces else None
            if index is None or register is None:
                found.append(None)
            else:
                at = 8 * INTEGER_REGISTERS.index(register)
                found.append(self.add(Op(OpKind.POINTED, REGISTERS, at, 8, offset=8 * index)))
        return found

    def add(self, op: Op) -> int | None:
        """The number of the piece it will leave; None if there are too many."""
        if len(self.ops) + 1 >= PIECES:
            self.left_out[self.root] += 1
            return None
        self.ops.append(op)
        return len(self.ops)

    def follow(self) -> None:
        """Breadth first: what lies near goes before what lies far."""
        while self.pending:
            self.root = self.pending[0].root
            self.expand(self.pending.popleft())

    def expand(self, value: _Pending) -> None:
        of, types = value.type, self.types
        if of.kind == Kind.STRUCT:
            for each in of.fields:
                self.part(value, types[each.type], each.offset)
        elif of.kind == Kind.ARRAY:
            for index in range(min(of.count, self.limits.elements if of.count > 1 else 1)):
                self.part(value, types[of.elem], index * types[of.elem].size)
        elif of.kind == Kind.STRING:
            self.read(value, Op(OpKind.COUNTED, size=min(self.limits.string, MOST), stride=1), of)
        elif of.kind == Kind.SLICE:
            self.slice(value, types[of.elem])
        elif of.kind == Kind.POINTER and of.elem and value.depth:
            elem = types[of.elem]
            if elem.size:
                self.read(value, Op(OpKind.POINTED, size=min(elem.size, MOST)), elem, value.depth - 1)
        elif of.kind == Kind.INTERFACE:
            self.interface(value)
        elif of.kind == Kind.FUNC:
            self.read(value, Op(OpKind.POINTED, size=8), of)  # it points to its code's address
        elif of.kind == Kind.MAP:
            self.map(value)
        elif of.kind == Kind.CHAN:
            self.read(value, Op(OpKind.POINTED, size=16), of)  # runtime.hchan: qcount, dataqsiz

    def part(self, value: _Pending, of: GoType, offset: int) -> None:
        self.expand(
            _Pending(
                of,
                value.piece,
                lambda more: value.at(offset + more),
                value.inside,
                value.base + offset,
                value.depth,
                value.root,
            )
        )

    def slice(self, value: _Pending, elem: GoType) -> None:
        if not elem.size:
            return
        count = self.limits.string if elem.size == 1 else self.limits.elements
        count = min(count, MOST // elem.size)
        if not count:
            self.left_out[self.root] += 1
            return
        op = Op(OpKind.COUNTED, size=count * elem.size, stride=elem.size)
        self.read(value, op, elem, value.depth, 1 if elem.size == 1 else count)

    def map(self, value: _Pending) -> None:
        """Its head, which begins with the number of entries, and the first of these; they count as far as a pointer."""
        self.read(value, Op(OpKind.POINTED, size=_MAP_HEAD), value.type)
        head = value.inside.get(value.base)
        if head is None or not value.depth or not self.limits.elements or not value.type.key:
            return
        slots = map_slots(value.type, self.types, self.of.maps)
        kind = OpKind.BUCKETS if slots.layout is MapLayout.BUCKETS else OpKind.GROUPS
        size, stride, offset = (
            key | elem << 16
            for key, elem in (
                (slots.keys.size, slots.elems.size),
                (slots.keys.stride, slots.elems.stride),
                (slots.keys.at, slots.elems.at),
            )
        )
        op = Op(kind, head.piece, _MAP_GROUPS, size, stride, offset, self.limits.elements, slots.size)
        number = self.add(op)
        if number is None:
            return
        inside: dict[int, Target] = {}
        value.inside[value.base] = replace(head, inside={0: Target(number, value.type, inside, slots)})
        at = 0
        for _ in range(self.limits.elements):
            for each in (slots.keys, slots.elems):
                part = _Pending(each.type, number, _shifted(at), inside, at, value.depth - 1, value.root)
                if each.indirect:
                    self.read(part, Op(OpKind.POINTED, size=min(each.type.size, MOST)), each.type, part.depth)
                else:
                    self.pending.append(part)
                at += whole_words(each.size)

    def interface(self, value: _Pending) -> None:
        """One word says which type, by way of an itab if the interface has methods; the other is or has the value."""
        at, data = value.at(0), value.at(8)
        if at is None or data is None:
            return
        holder: int | None = value.piece
        if value.type.methods:
            self.interfaces.add(value.type.runtime_type)
            holder, at = self.add(Op(OpKind.POINTED, value.piece, at, 8, offset=_TYPE_OF_ITAB)), 0
        if holder is None:
            return
        number = self.add(Op(OpKind.DYNAMIC, holder, at, stride=value.piece << 16 | data))
        if number is not None:
            value.inside[value.base] = Target(number, value.type, {})

    def read(self, value: _Pending, op: Op, of: GoType, depth: int | None = None, count: int = 1) -> None:
        """Adds the op for what the value's first word points to; with a depth, what is there is followed in turn."""
        at = value.at(0)
        if at is None:
            return
        number = self.add(Op(op.kind, value.piece, at, op.size, op.stride, op.offset))
        if number is None:
            return
        inside: dict[int, Target] = {}
        value.inside[value.base] = Target(number, of, inside)
        if depth is None:
            return
        for index in range(count):
            start = index * of.size
            if start + of.size <= op.size:
                self.pending.append(_Pending(of, number, _shifted(start), inside, start, depth, value.root))


def _shifted(start: int) -> Callable[[int], int]:
    return lambda offset: start + offset
