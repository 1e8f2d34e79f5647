"""From a filter expression and a signature to tests that the kernel makes at a call's entry and at its return."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from undergo.errors import UsageError
from undergo.goexe.abi import INTEGER_REGISTERS, Assigned, assign
from undergo.goexe.types import FLOATS, POINTERS, SIGNED, UNSIGNED, GoType, Kind, Signature, Types
from undergo.plan.capture import MOST, Op, OpKind
from undergo.plan.filter_expression import Both, Comparison, Expression, Not, Path, wrong

TEXT: Final = 64  # FILTER_TEXT of bpf/undergo.h: bytes of a text that are compared
TESTS: Final = 16  # FILTER_TESTS: of one place
ACCEPT: Final = 254
REJECT: Final = 255


class TestKind(IntEnum):
    """enum test_kind of bpf/undergo.h."""

    UNSIGNED = 0
    SIGNED = 1
    TEXT = 2
    PREFIX = 3
    WALL = 4
    DOUBLE = 5
    SINGLE = 6


class Relation(IntEnum):
    """enum relation of bpf/undergo.h."""

    EQUAL = 0
    LESS = 1
    GREATER = 2


@dataclass(frozen=True, slots=True)
class Test:
    """struct test of bpf/undergo.h: what is compared, and where to go on."""

    kind: TestKind
    relation: Relation
    piece: int
    at: int
    size: int
    value: int  # as 64 unsigned bits; of a text its length
    text: bytes
    on_true: int  # number of a test, ACCEPT or REJECT
    on_false: int
    on_unread: int  # the value was not there


@dataclass(frozen=True, slots=True)
class Filter:
    """Ops that read what the tests look at; the first test comes first."""

    ops: tuple[Op, ...]
    tests: tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class FunctionFilter:
    """The filters of one function, None where there is nothing to test."""

    entry: Filter | None = None
    exit: Filter | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """struct by of bpf/undergo.h: what the rows of a function are told apart by."""

    ops: tuple[Op, ...]
    kind: TestKind
    piece: int
    at: int
    size: int
    is_bool: bool = False


def filter_of(
    expression: Expression, text: str, signature: Signature, types: Types, name: str
) -> FunctionFilter:
    """The filters of the function called `name`. Raises UsageError with a caret in `text`."""
    at_entry, at_exit = assign(signature.parameters, signature.results, types)
    at_exit = _with_names(at_exit, {one.parameter.name for one in at_entry})
    entry: list[Expression] = []
    exit_: list[Expression] = []
    given = {one.parameter.name for one in at_entry}
    names = [one.parameter.name for one in (*at_entry, *at_exit) if one.parameter.name not in ("", ".dict")]
    for part in _conjuncts(expression):
        later = {path.names[0] not in given for path in _paths(part)}
        if len(later) > 1:
            at = min(path.at for path in _paths(part))
            raise wrong(
                text, at, "what is known at the entry and what at the return may only be joined by &&"
            )
        (exit_ if True in later else entry).append(part)
    return FunctionFilter(
        _compiled(entry, at_entry, text, types, name, names) if entry else None,
        _compiled(exit_, at_exit, text, types, name, names, at_exit=True) if exit_ else None,
    )


def _with_names(results: Sequence[Assigned], taken: Collection[str]) -> list[Assigned]:
    """Results that have no name are r0, r1 and so on; the last one, if it is an error, is err."""
    found = []
    for number, one in enumerate(results):
        last = number == len(results) - 1 and one.parameter.type.name == "error" and "err" not in taken
        name = one.parameter.name or ("err" if last else f"r{number}")
        found.append(replace(one, parameter=replace(one.parameter, name=name)))
    return found


def key_of(path: Path, text: str, signature: Signature, types: Types, name: str) -> Key:
    """How the value of a path is read at the entry. Raises UsageError with a caret in `text`."""
    at_entry, _ = assign(signature.parameters, signature.results, types)
    names = [one.parameter.name for one in at_entry if one.parameter.name not in ("", ".dict")]
    compiler = _Compiler(at_entry, text, types, name, names, False, "--by")
    of, (piece, at) = compiler.resolve(path)
    if of.kind == Kind.STRING:
        number = compiler.add(Op(OpKind.COUNTED, piece, at, TEXT, 1))
        return Key(tuple(compiler.ops), TestKind.TEXT, piece, at + 8, number)
    if of.kind not in SIGNED and of.kind not in UNSIGNED and of.kind != Kind.BOOL:
        raise compiler.wrong(path.at, f"{path} is a {of.name}: only strings, numbers and bools make rows")
    kind = TestKind.SIGNED if of.kind in SIGNED else TestKind.UNSIGNED
    return Key(tuple(compiler.ops), kind, piece, at, of.size, of.kind == Kind.BOOL)


def _conjuncts(of: Expression) -> list[Expression]:
    return [*_conjuncts(of.left), *_conjuncts(of.right)] if isinstance(of, Both) and of.all else [of]


def _paths(of: Expression) -> list[Path]:
    if isinstance(of, Both):
        return [*_paths(of.left), *_paths(of.right)]
    return _paths(of.of) if isinstance(of, Not) else [of.path]


def _compiled(
    parts: Sequence[Expression],
    assigned: Sequence[Assigned],
    text: str,
    types: Types,
    name: str,
    names: Sequence[str],
    at_exit: bool = False,
) -> Filter:
    whole = parts[0]
    for part in parts[1:]:
        whole = Both(whole, part, True)
    compiler = _Compiler(assigned, text, types, name, names, at_exit)
    compiler.jump(whole, ACCEPT, REJECT)
    if len(compiler.tests) > TESTS:
        raise wrong(text, 0, f"{len(compiler.tests)} comparisons are more than {TESTS}")
    # they were made from the last one on
    last = len(compiler.tests) - 1
    return Filter(tuple(compiler.ops), tuple(test(last) for test in reversed(compiler.tests)))


@dataclass(slots=True)
class _Compiler:
    assigned: Sequence[Assigned]
    text: str
    types: Types
    name: str
    names: Sequence[str]  # of all parameters and results
    at_exit: bool
    option: str = "--filter"
    ops: list[Op] = field(default_factory=list)
    tests: list[Callable[[int], Test]] = field(default_factory=list)

    def jump(self, of: Expression, true: int, false: int) -> int:
        """Adds the tests of an expression that goes on at `true` or `false`; the number of its first one.

        Tests are made backwards, for each has to know those that follow: numbers count from the end.
        """
        if isinstance(of, Not):
            return self.jump(of.of, false, true)
        if isinstance(of, Both):
            right = self.jump(of.right, true, false)
            return self.jump(of.left, right, false) if of.all else self.jump(of.left, true, right)
        return self.compare(of, true, false)

    def compare(self, of: Comparison, true: int, false: int) -> int:
        kind, value, text, place, size = self.operand(of)
        relation = {
            "<": Relation.LESS,
            ">=": Relation.LESS,
            ">": Relation.GREATER,
            "<=": Relation.GREATER,
        }.get(of.op, Relation.EQUAL)
        if of.op in ("!=", ">=", "<="):
            true, false = false, true
        piece, at = place

        def test(last: int) -> Test:
            def number(place: int) -> int:
                return place if place in (ACCEPT, REJECT) else last - place

            # what could not be read matches nothing, whatever is asked
            return Test(kind, relation, piece, at, size, value, text, number(true), number(false), REJECT)

        self.tests.append(test)
        return len(self.tests) - 1

    def operand(self, of: Comparison) -> tuple[TestKind, int, bytes, tuple[int, int], int]:
        """How to compare: kind, value, text, (piece, offset in it), size in bytes."""
        if of.path.names == ("wall",) and self.at_exit and not of.path.length:
            if isinstance(of.value, bool) or not isinstance(of.value, int):
                raise self.wrong(of.at, "wall is a duration: wall > 10ms")
            return TestKind.WALL, of.value & _ALL, b"", (0, 0), 8
        kind, place = self.resolve(of.path)
        if of.path.length:
            return self.length(of, kind, place)
        if of.value is None:
            return self.nil(of, kind, place)
        if kind.kind == Kind.STRING:
            return self.string(of, place)
        return self.scalar(of, kind, place)

    def wrong(self, at: int, message: str) -> UsageError:
        return wrong(self.text, at, message, self.option)

    def scalar(
        self, of: Comparison, kind: GoType, place: tuple[int, int]
    ) -> tuple[TestKind, int, bytes, tuple[int, int], int]:
        value = of.value
        if kind.kind == Kind.BOOL:
            if not isinstance(value, bool):
                raise self.wrong(of.at, f"{of.path} is a bool")
            return TestKind.UNSIGNED, int(value), b"", place, 1
        if kind.kind in FLOATS:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self.wrong(of.at, f"{of.path} is a {kind.name}")
            double = kind.kind == Kind.FLOAT64
            bits = struct.unpack("<Q" if double else "<I", struct.pack("<d" if double else "<f", value))[0]
            ordered = _ordered(bits, 64 if double else 32)
            return (TestKind.DOUBLE if double else TestKind.SINGLE), ordered, b"", place, kind.size
        if kind.kind not in SIGNED and kind.kind not in UNSIGNED:
            raise self.wrong(
                of.path.at, f"{of.path} is a {kind.name}: compare one of its fields, or with nil"
            )
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(of.at, f"{of.path} is a {kind.name}")
        signed = kind.kind in SIGNED
        bits = 8 * kind.size - signed
        if not -(1 << bits) * signed <= value < 1 << bits:
            raise self.wrong(of.at, f"{value} is no {kind.name}")
        return (TestKind.SIGNED if signed else TestKind.UNSIGNED), value & _ALL, b"", place, kind.size

    def string(
        self, of: Comparison, place: tuple[int, int]
    ) -> tuple[TestKind, int, bytes, tuple[int, int], int]:
        if not isinstance(of.value, str):
            raise self.wrong(of.at, f"{of.path} is a string: compare it with a text in quotes")
        if of.op not in ("==", "!=", "prefix"):
            raise self.wrong(of.at, "strings can be compared with == and !=, and with hasPrefix")
        raw = of.value.encode()
        if len(raw) > TEXT:
            raise self.wrong(of.at, f"a text of {len(raw)} bytes is longer than {TEXT}")
        piece, at = place
        number = self.add(Op(OpKind.COUNTED, piece, at, max(len(raw), 1), 1))
        kind = TestKind.PREFIX if of.op == "prefix" else TestKind.TEXT
        # the length is beside the pointer; the bytes are in the piece that follows it
        return kind, len(raw), raw, (piece, at + 8), number

    def nil(
        self, of: Comparison, kind: GoType, place: tuple[int, int]
    ) -> tuple[TestKind, int, bytes, tuple[int, int], int]:
        if kind.kind not in POINTERS and kind.kind not in (Kind.SLICE, Kind.INTERFACE):
            raise self.wrong(of.at, f"{of.path} is a {kind.name}, which is never nil")
        if of.op not in ("==", "!="):
            raise self.wrong(of.at, "nil can be compared with == and != only")
        return TestKind.UNSIGNED, 0, b"", place, 8

    def length(
        self, of: Comparison, kind: GoType, place: tuple[int, int]
    ) -> tuple[TestKind, int, bytes, tuple[int, int], int]:
        if isinstance(of.value, bool) or not isinstance(of.value, int):
            raise self.wrong(of.at, "a length is a whole number")
        piece, at = place
        if kind.kind in (Kind.STRING, Kind.SLICE):
            return TestKind.SIGNED, of.value & _ALL, b"", (piece, at + 8), 8
        if kind.kind in (Kind.MAP, Kind.CHAN):
            return TestKind.SIGNED, of.value & _ALL, b"", (self.add(Op(OpKind.POINTED, piece, at, 8)), 0), 8
        raise self.wrong(of.path.at, f"a {kind.name} has no length")

    def add(self, op: Op) -> int:
        if op not in self.ops:
            self.ops.append(op)
        return self.ops.index(op) + 1

    def resolve(self, path: Path) -> tuple[GoType, tuple[int, int]]:
        """The type of what a path leads to, and where it is: (piece, offset in it)."""
        first = next((one for one in self.assigned if one.parameter.name == path.names[0]), None)
        if first is None:
            known = ", ".join(self.names) or "none"
            raise self.wrong(
                path.at, f"{self.name} has no parameter or result {path.names[0]!r}; it has {known}"
            )
        of, offset = first.parameter.type, 0
        holder: int | None = None
        column = path.at + len(path.names[0])
        for step in path.names[1:]:
            column += 1
            if of.kind == Kind.POINTER:
                of, holder, offset = self.follow(first, of, holder, offset, path)
            found = self.field(of, step)
            if found is None:
                fields = ", ".join(each.name for each in of.fields) or "none"
                raise self.wrong(column, f"{of.name} has no field {step!r}; its fields: {fields}")
            inner, more = found
            of, offset = inner, offset + more
            column += len(step)
        return of, self.located(first, of, holder, offset, path)

    def field(self, of: GoType, name: str) -> tuple[GoType, int] | None:
        """A field, or one of an embedded struct: its type and offset."""
        if of.kind != Kind.STRUCT:
            return None
        for each in of.fields:
            if each.name == name:
                return self.types[each.type], each.offset
        for each in of.fields:
            if each.embedded and (found := self.field(self.types[each.type], name)) is not None:
                return found[0], each.offset + found[1]
        return None

    def follow(
        self, first: Assigned, of: GoType, holder: int | None, offset: int, path: Path
    ) -> tuple[GoType, int, int]:
        piece, at = self.located(first, of, holder, offset, path)
        elem = self.types[of.elem]
        return elem, self.add(Op(OpKind.POINTED, piece, at, min(max(elem.size, 1), MOST))), 0

    def located(
        self, first: Assigned, of: GoType, holder: int | None, offset: int, path: Path
    ) -> tuple[int, int]:
        """(piece, offset in it) of something at an offset in a parameter, or in what a pointer led to."""
        if holder is not None:
            if offset + of.size > MOST:
                raise self.wrong(path.at, f"{path} lies too far into its struct")
            return holder, offset
        if first.stack is not None:
            size = min(first.parameter.type.size, MOST)
            return self.add(Op(OpKind.STACK, size=size, offset=first.stack)), offset
        for piece in first.pieces:
            if piece.offset == offset:
                if piece.register is None:
                    raise self.wrong(path.at, f"{path} is in an XMM register, which cannot be read")
                return 0, 8 * INTEGER_REGISTERS.index(piece.register)
        raise self.wrong(path.at, f"{path} cannot be compared")


_ALL: Final = (1 << 64) - 1


def _ordered(bits: int, width: int) -> int:
    """A float's bits so that they compare as unsigned numbers do; bpf/filter.bpf.h does the same."""
    sign = 1 << width - 1
    return (~bits if bits & sign else bits | sign) & ((1 << width) - 1)
