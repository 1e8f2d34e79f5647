"""From a filter expression and a signature to tests that the kernel makes at a call's entry and at its return."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from undergo.goexe.types import FLOATS, POINTERS, SIGNED, UNSIGNED, GoType, Kind
from undergo.plan.filter_expression import Both, Comparison, Expression, Not, Path, wrong
from undergo.plan.ops import TEXT, Op, OpKind
from undergo.plan.paths import Place, Resolver, Subject

TESTS: Final = 16  # FILTER_TESTS of bpf/undergo.h: of one place
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
    is_label: bool = False

    @property
    def is_signed(self) -> bool:
        """Whether it is a number that may be below zero."""
        return self.kind == TestKind.SIGNED


def filter_of(expression: Expression, text: str, of: Subject) -> FunctionFilter:
    """The filters of a function. Raises UsageError with a caret in `text`."""
    at_entry, at_exit = of.assigned()
    entry: list[Expression] = []
    exit_: list[Expression] = []
    given = {one.parameter.name for one in at_entry}
    for part in _conjuncts(expression):
        later = {path.label is None and path.names[0] not in given for path in paths_of(part)}
        if len(later) > 1:
            at = min(path.at for path in paths_of(part))
            raise wrong(
                text, at, "what is known at the entry and what at the return may only be joined by &&"
            )
        (exit_ if True in later else entry).append(part)
    early = Resolver(of, at_entry, text)
    late = Resolver(of, at_exit, text)
    return FunctionFilter(
        _compiled(entry, early) if entry else None,
        _compiled(exit_, late, at_exit=True) if exit_ else None,
    )


def key_of(path: Path, text: str, subject: Subject) -> Key:
    """How the value of a path is read at the entry. Raises UsageError with a caret in `text`."""
    at_entry, _ = subject.assigned()
    resolver = Resolver(subject, at_entry, text, "--by")
    of, place = resolver.resolve(path)
    if of.kind == Kind.STRING:
        number = resolver.add(Op(OpKind.COUNTED, place.piece, place.at, TEXT, 1))
        ops, is_label = tuple(resolver.ops), path.label is not None
        return Key(ops, TestKind.TEXT, place.piece, place.at + 8, number, is_label=is_label)
    if of.kind not in SIGNED and of.kind not in UNSIGNED and of.kind != Kind.BOOL:
        raise resolver.wrong(path.at, f"{path} is a {of.name}: only strings, numbers and bools make rows")
    kind = TestKind.SIGNED if of.kind in SIGNED else TestKind.UNSIGNED
    return Key(tuple(resolver.ops), kind, place.piece, place.at, of.size, of.kind == Kind.BOOL)


def _conjuncts(of: Expression) -> list[Expression]:
    return [*_conjuncts(of.left), *_conjuncts(of.right)] if isinstance(of, Both) and of.all else [of]


def paths_of(of: Expression) -> list[Path]:
    """The paths that an expression names."""
    if isinstance(of, Both):
        return [*paths_of(of.left), *paths_of(of.right)]
    return paths_of(of.of) if isinstance(of, Not) else [of.path]


def _compiled(parts: Sequence[Expression], resolver: Resolver, at_exit: bool = False) -> Filter:
    whole = parts[0]
    for part in parts[1:]:
        whole = Both(whole, part, True)
    compiler = _Compiler(resolver, at_exit)
    compiler.jump(whole, ACCEPT, REJECT)
    if len(compiler.tests) > TESTS:
        raise resolver.wrong(0, f"{len(compiler.tests)} comparisons are more than {TESTS}")
    # they were made from the last one on
    last = len(compiler.tests) - 1
    return Filter(tuple(resolver.ops), tuple(test(last) for test in reversed(compiler.tests)))


@dataclass(slots=True)
class _Compiler:
    resolver: Resolver
    at_exit: bool
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

        def test(last: int) -> Test:
            def number(place: int) -> int:
                return place if place in (ACCEPT, REJECT) else last - place

            # what could not be read matches nothing, whatever is asked
            return Test(
                kind, relation, place.piece, place.at, size, value, text, number(true), number(false), REJECT
            )

        self.tests.append(test)
        return len(self.tests) - 1

    def operand(self, of: Comparison) -> _Operand:
        """How to compare."""
        if of.path.names == ("wall",) and self.at_exit and not of.path.length:
            if isinstance(of.value, bool) or not isinstance(of.value, int) or of.value < 0:
                raise self.resolver.wrong(of.at, "wall is a duration: wall > 10ms")
            if of.value > _LONGEST:
                raise self.resolver.wrong(of.at, "no call takes that long")
            return TestKind.WALL, of.value & _ALL, b"", Place(0, 0), 8
        kind, place = self.resolver.resolve(of.path)
        if of.path.length:
            return self.length(of, kind, place)
        if of.value is None:
            return self.nil(of, kind, place)
        if kind.kind == Kind.STRING:
            return self.string(of, place)
        return self.scalar(of, kind, place)

    def scalar(self, of: Comparison, kind: GoType, place: Place) -> _Operand:
        value = of.value
        if kind.kind == Kind.BOOL:
            if not isinstance(value, bool):
                raise self.resolver.wrong(of.at, f"{of.path} is a bool")
            return TestKind.UNSIGNED, int(value), b"", place, 1
        if kind.kind in FLOATS:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self.resolver.wrong(of.at, f"{of.path} is a {kind.name}")
            double = kind.kind == Kind.FLOAT64
            try:
                packed = struct.pack("<d" if double else "<f", float(value))
            except OverflowError:
                raise self.resolver.wrong(of.at, f"this is too large for a {kind.name}") from None
            bits = struct.unpack("<Q" if double else "<I", packed)[0]
            ordered = _ordered(bits, 64 if double else 32)
            return (TestKind.DOUBLE if double else TestKind.SINGLE), ordered, b"", place, kind.size
        if kind.kind not in SIGNED and kind.kind not in UNSIGNED:
            raise self.resolver.wrong(
                of.path.at, f"{of.path} is a {kind.name}: compare one of its fields, or with nil"
            )
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.resolver.wrong(of.at, f"{of.path} is a {kind.name}")
        signed = kind.kind in SIGNED
        bits = 8 * kind.size - signed
        if not -(1 << bits) * signed <= value < 1 << bits:
            raise self.resolver.wrong(of.at, f"{value} is no {kind.name}")
        return (TestKind.SIGNED if signed else TestKind.UNSIGNED), value & _ALL, b"", place, kind.size

    def string(self, of: Comparison, place: Place) -> _Operand:
        if not isinstance(of.value, str):
            raise self.resolver.wrong(of.at, f"{of.path} is a string: compare it with a text in quotes")
        if of.op not in ("==", "!=", "prefix"):
            raise self.resolver.wrong(of.at, "strings can be compared with == and !=, and with hasPrefix")
        raw = of.value.encode("utf-8", "surrogateescape")
        if len(raw) > TEXT:
            raise self.resolver.wrong(of.at, f"a text of {len(raw)} bytes is longer than {TEXT}")
        number = self.resolver.add(Op(OpKind.COUNTED, place.piece, place.at, max(len(raw), 1), 1))
        kind = TestKind.PREFIX if of.op == "prefix" else TestKind.TEXT
        # the length is beside the pointer; the bytes are in the piece that follows it
        return kind, len(raw), raw, replace(place, at=place.at + 8), number

    def nil(self, of: Comparison, kind: GoType, place: Place) -> _Operand:
        if kind.kind not in POINTERS and kind.kind not in (Kind.SLICE, Kind.INTERFACE):
            raise self.resolver.wrong(of.at, f"{of.path} is a {kind.name}, which is never nil")
        if of.op not in ("==", "!="):
            raise self.resolver.wrong(of.at, "nil can be compared with == and != only")
        return TestKind.UNSIGNED, 0, b"", place, 8

    def length(self, of: Comparison, kind: GoType, place: Place) -> _Operand:
        if isinstance(of.value, bool) or not isinstance(of.value, int):
            raise self.resolver.wrong(of.at, "a length is a whole number")
        if abs(of.value) > _LONGEST:
            raise self.resolver.wrong(of.at, "nothing is that long")
        if kind.kind in (Kind.STRING, Kind.SLICE):
            return TestKind.SIGNED, of.value & _ALL, b"", replace(place, at=place.at + 8), 8
        if kind.kind in (Kind.MAP, Kind.CHAN):
            number = self.resolver.add(Op(OpKind.POINTED, place.piece, place.at, 8))
            return TestKind.SIGNED, of.value & _ALL, b"", Place(number, 0), 8
        raise self.resolver.wrong(of.path.at, f"a {kind.name} has no length")


#: Kind, value, text, where the value is, its size in bytes.
_Operand = tuple[TestKind, int, bytes, Place, int]
_ALL: Final = (1 << 64) - 1
_LONGEST: Final = (1 << 63) - 1


def _ordered(bits: int, width: int) -> int:
    """A float's bits so that they compare as unsigned numbers do; bpf/filter.bpf.h does the same."""
    sign = 1 << width - 1
    return (~bits if bits & sign else bits | sign) & ((1 << width) - 1)
