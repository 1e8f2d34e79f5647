"""From the path of a value, `req.URL.Path`, to where it is: through fields and pointers, by types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from undergo.errors import UsageError
from undergo.goexe.abi import INTEGER_REGISTERS, Assigned, assign
from undergo.goexe.maps import MapLayout
from undergo.goexe.types import GoType, Kind, Parameter, Signature, Types
from undergo.plan.filter_expression import Path, wrong
from undergo.plan.labels import MOST_LABELS, LabelSource, label_ops
from undergo.plan.ops import MOST, REGISTERS, TEXT, Op, OpKind

_TEXT = GoType("string", Kind.STRING, 16)


@dataclass(frozen=True, slots=True)
class Place:
    """A piece, and bytes from its start."""

    piece: int
    at: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A function, and what is known of it and of its executable. `types` knows the types of the signature."""

    name: str
    signature: Signature
    types: Types
    maps: MapLayout
    labels: LabelSource

    @property
    def result_names(self) -> list[str]:
        """Results that have no name are r0, r1 and so on; the last one, if it is an error, is err."""
        results, found = self.signature.results, []
        taken = {one.name for one in self.signature.parameters}
        for number, one in enumerate(results):
            last = number == len(results) - 1 and one.type.name == "error" and "err" not in taken
            found.append(one.name or ("err" if last else f"r{number}"))
        return found

    def assigned(self) -> tuple[list[Assigned], list[Assigned]]:
        """Where parameters are at the entry, and results, all of which have names, at a return."""
        at_entry, at_exit = assign(self.signature.parameters, self.signature.results, self.types)
        pairs = zip(at_exit, self.result_names, strict=True)
        return at_entry, [replace(one, parameter=replace(one.parameter, name=name)) for one, name in pairs]


def find_path(of: Subject, path: Path, text: str) -> None:
    """Raises UsageError, with a caret, if a function has nothing of that path."""
    at_entry, at_exit = of.assigned()
    given = {one.parameter.name for one in at_entry}
    there = at_entry if path.label is not None or path.names[0] in given else at_exit
    resolver = Resolver(of, there, text, "--show")
    if resolver.direct(path) is None:
        resolver.resolve(path)


@dataclass(slots=True)
class Resolver:
    """Finds values of one function, at its entry or at its returns, and adds the ops that lead there."""

    of: Subject
    assigned: Sequence[Assigned]
    text: str  # what the user wrote, for the caret under mistakes
    option: str = "--filter"
    ops: list[Op] = field(default_factory=list)

    def wrong(self, at: int, message: str) -> UsageError:
        """The error with a caret under the mistake."""
        return wrong(self.text, at, message, self.option)

    def add(self, op: Op) -> int:
        """The number of the piece it leaves; the same op is there once."""
        if op not in self.ops:
            self.ops.append(op)
        return self.ops.index(op) + 1

    def resolve(self, path: Path) -> tuple[GoType, Place]:
        """The type of what a path leads to, and where it is. Raises UsageError."""
        if path.label is not None:
            return _TEXT, Place(self._label(path), 0)
        of, whole, holder, offset = self._walk(path)
        if holder is not None:
            if offset + of.size > MOST:
                raise self.wrong(path.at, f"{path} lies too far into its struct")
            return of, Place(holder, offset)
        return of, self._located(whole, offset, path)

    def direct(self, path: Path) -> Assigned | None:
        """A value that no pointer leads to, as a parameter or result of its own; else None. Raises UsageError."""
        if path.label is not None:
            return None
        of, whole, holder, offset = self._walk(path)
        if holder is not None:
            return None
        parameter = Parameter(str(path), of)
        if whole.stack is not None:
            return Assigned(parameter, (), whole.stack + offset)
        inside = (piece for piece in whole.pieces if offset <= piece.offset < offset + of.size)
        return Assigned(parameter, tuple(replace(piece, offset=piece.offset - offset) for piece in inside))

    def _walk(self, path: Path) -> tuple[GoType, Assigned, int | None, int]:
        """Type; parameter or result; the piece that the last pointer led to, if any; offset in that or in the value."""
        whole = next((one for one in self.assigned if one.parameter.name == path.names[0]), None)
        if whole is None:
            names = [*(one.name for one in self.of.signature.parameters), *self.of.result_names]
            known = ", ".join(name for name in names if name not in ("", ".dict")) or "none"
            raise self.wrong(
                path.at, f"{self.of.name} has no parameter or result {path.names[0]!r}; it has {known}"
            )
        of, offset = whole.parameter.type, 0
        holder: int | None = None
        column = path.at + len(path.names[0])
        for step in path.names[1:]:
            column += 1
            if of.kind == Kind.POINTER:
                place = self._located(whole, offset, path) if holder is None else Place(holder, offset)
                of, offset = self.of.types[of.elem], 0
                holder = self.add(Op(OpKind.POINTED, place.piece, place.at, min(max(of.size, 1), MOST)))
            found = self._field(of, step)
            if found is None:
                fields = ", ".join(each.name for each in of.fields) or "none"
                raise self.wrong(column, f"{of.name} has no field {step!r}; its fields: {fields}")
            of, more = found
            offset += more
            column += len(step)
        return of, whole, holder, offset

    def _field(self, of: GoType, name: str) -> tuple[GoType, int] | None:
        """A field, or one of an embedded struct: its type and offset."""
        if of.kind != Kind.STRUCT:
            return None
        for each in of.fields:
            if each.name == name:
                return self.of.types[each.type], each.offset
        for each in of.fields:
            if each.embedded and (found := self._field(self.of.types[each.type], name)) is not None:
                return found[0], each.offset + found[1]
        return None

    def _located(self, whole: Assigned, offset: int, path: Path) -> Place:
        """Where something at an offset in a parameter or result is."""
        if whole.stack is not None:
            size = min(whole.parameter.type.size, MOST)
            return Place(self.add(Op(OpKind.STACK, size=size, offset=whole.stack)), offset)
        for piece in whole.pieces:
            if piece.offset == offset:
                if piece.register is None:
                    raise self.wrong(path.at, f"{path} is in an XMM register, which cannot be read")
                return Place(REGISTERS, 8 * INTEGER_REGISTERS.index(piece.register))
        raise self.wrong(path.at, f"{path} cannot be compared")

    def _label(self, path: Path) -> int:
        raw = (path.label or "").encode("utf-8", "surrogateescape")
        if len(raw) > TEXT:
            raise self.wrong(path.at, f"a text of {len(raw)} bytes is longer than {TEXT}")
        ops = label_ops(self.of.labels, len(self.ops) + 1)
        if ops[0] in self.ops:  # of another label: there is only one set of them
            ops = label_ops(self.of.labels, self.ops.index(ops[0]) + 1)
        for op in ops:
            pairs = self.add(op)
        return self.add(Op(OpKind.FIND, pairs, 0, wanted=MOST_LABELS, text=raw))
