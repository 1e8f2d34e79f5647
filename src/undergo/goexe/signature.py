"""Signatures that somebody wrote down in Go, for executables that say nothing of parameters themselves.

    main.handle(ctx context.Context, id string, n int) error
    main.(*shop).reserve(s *main.shop, o *main.order) (ok bool, err error)

A method's receiver is its first parameter. Types are Go's own, what is made of them, and any named type of which the
executable has a descriptor: those that it ever puts into an interface, and what these are made of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from undergo.errors import TruncatedError, UsageError
from undergo.goexe.runtime_types import RuntimeTypes
from undergo.goexe.types import Field, GoType, Kind, Parameter, Signature

_SIZES: Final = {
    "bool": (Kind.BOOL, 1),
    "int": (Kind.INT, 8),
    "int8": (Kind.INT8, 1),
    "int16": (Kind.INT16, 2),
    "int32": (Kind.INT32, 4),
    "rune": (Kind.INT32, 4),
    "int64": (Kind.INT64, 8),
    "uint": (Kind.UINT, 8),
    "uint8": (Kind.UINT8, 1),
    "byte": (Kind.UINT8, 1),
    "uint16": (Kind.UINT16, 2),
    "uint32": (Kind.UINT32, 4),
    "uint64": (Kind.UINT64, 8),
    "uintptr": (Kind.UINTPTR, 8),
    "float32": (Kind.FLOAT32, 4),
    "float64": (Kind.FLOAT64, 8),
    "complex64": (Kind.COMPLEX64, 8),
    "complex128": (Kind.COMPLEX128, 16),
    "string": (Kind.STRING, 16),
    "time.Duration": (Kind.INT64, 8),
    "unsafe.Pointer": (Kind.UNSAFE_POINTER, 8),
}
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_DEEPEST: Final = 20
_OWN: Final = 1 << 20  # places below are of types made here, addresses are above


@dataclass(frozen=True, slots=True)
class WrittenSignature:
    """A function's name and its signature; `types` knows what the types are made of."""

    name: str
    signature: Signature
    types: WrittenTypes


class WrittenTypes:
    """Types made here, and those of the executable's descriptors, by place."""

    def __init__(self, runtime: RuntimeTypes) -> None:
        self._runtime = runtime
        self._own: list[GoType] = []

    def __getitem__(self, place: int) -> GoType:
        return self._own[place - 1] if place < _OWN else self._runtime[place]

    def add(self, name: str, kind: Kind, size: int, **more: Any) -> GoType:
        """A new type."""
        made = GoType(name, kind, size, place=len(self._own) + 1, **more)
        self._own.append(made)
        return made

    def described(self, name: str) -> GoType | None:
        """The type that the executable calls so."""
        address = self._runtime.named(name)
        try:
            return None if address is None else self._runtime[address]
        except TruncatedError:
            return None


def parse_signature(text: str, runtime: RuntimeTypes) -> WrittenSignature:
    """Raises UsageError with a caret under what is wrong."""
    parser = _Parser(text, WrittenTypes(runtime))
    name = parser.function()
    parameters = parser.group()
    results: list[Parameter] = []
    if parser.at_paren():
        results = parser.group()
    elif not parser.ended():
        results = [Parameter("", parser.type())]
    if not parser.ended():
        raise parser.wrong("nothing is expected here")
    return WrittenSignature(name, Signature(tuple(parameters), tuple(results)), parser.types)


class _Parser:
    def __init__(self, text: str, types: WrittenTypes) -> None:
        self._text, self.types, self._at, self._depth = text, types, 0, 0

    def wrong(self, message: str, at: int | None = None) -> UsageError:
        at = self._at if at is None else at
        return UsageError(f"--sig: {message}", f"{self._text}\n{' ' * at}^")

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def ended(self) -> bool:
        self._skip()
        return self._at >= len(self._text)

    def at_paren(self) -> bool:
        self._skip()
        return self._text.startswith("(", self._at)

    def _take(self, text: str) -> bool:
        self._skip()
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self.wrong(f"{text!r} is expected here")

    def function(self) -> str:
        """The name: up to the parenthesis that opens the parameters, which a receiver's follows after a dot."""
        self._skip()
        start = self._at
        at = self._text.find("(", start)
        while at > 0 and self._text[at - 1] == ".":
            close = self._text.find(")", at)
            at = self._text.find("(", close) if close > 0 else -1
        if at <= start:
            raise self.wrong("a function's name and its parameters in parentheses are expected here")
        self._at = at
        return self._text[start:at].strip()

    def group(self) -> list[Parameter]:
        """Parameters in parentheses; names may be shared, `a, b int`, or all be left out."""
        self._expect("(")
        found: list[tuple[str, GoType | None, int]] = []
        while not self._take(")"):
            if found:
                self._expect(",")
            self._skip()
            start = self._at
            name = self._word()
            self._skip()
            if name and "." not in name and self._at < len(self._text) and self._text[self._at] not in ",)":
                found.append((name, self.type(), start))
            elif name and "." not in name and name not in _SIZES and name not in ("error", "any"):
                found.append((name, None, start))  # the name of a type, or one that shares what follows
            else:
                self._at = start
                found.append(("", self.type(), start))
        parameters: list[Parameter] = []
        shared: GoType | None = None
        for name, of, start in reversed(found):
            shared = of or shared
            if shared is None:
                raise self.wrong(f"the type of {name} is not known", start)
            parameters.append(Parameter("" if name == "_" else name, shared))
        return parameters[::-1]

    def _word(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def type(self) -> GoType:
        """One type."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.wrong("nested too deeply")
        try:
            return self._type()
        finally:
            self._depth -= 1

    def _type(self) -> GoType:
        add = self.types.add
        self._skip()
        start = self._at
        if self._take("..."):
            elem = self.type()
            return add(f"[]{elem.name}", Kind.SLICE, 24, elem=elem.place)
        if self._take("*"):
            elem = self.type()
            return add(f"*{elem.name}", Kind.POINTER, 8, elem=elem.place)
        if self._take("["):
            match = re.compile(r"\s*(\d*)\s*\]").match(self._text, self._at)
            if match is None:
                raise self.wrong("a length, or ], is expected here")
            self._at = match.end()
            elem = self.type()
            if not match[1]:
                return add(f"[]{elem.name}", Kind.SLICE, 24, elem=elem.place)
            count = int(match[1])
            return add(f"[{count}]{elem.name}", Kind.ARRAY, count * elem.size, elem=elem.place, count=count)
        word = self._word()
        if word == "map":
            self._expect("[")
            key = self.type()
            self._expect("]")
            elem = self.type()
            return add(f"map[{key.name}]{elem.name}", Kind.MAP, 8, key=key.place, elem=elem.place)
        if word == "chan":
            self._take("<-")
            elem = self.type()
            return add(f"chan {elem.name}", Kind.CHAN, 8, elem=elem.place)
        if word == "func":
            self.group()
            self._skip()
            if self.at_paren():
                self.group()
            elif not self.ended() and self._text[self._at] not in ",)":
                self.type()
            return add(self._text[start : self._at].strip(), Kind.FUNC, 8)
        if word == "struct":
            return self._struct(start)
        if word == "interface":
            self._expect("{")
            self._expect("}")
            return add("interface {}", Kind.INTERFACE, 16)
        return self._named(word, start)

    def _struct(self, start: int) -> GoType:
        self._expect("{")
        fields: list[Field] = []
        offset = strictest = 0
        while not self._take("}"):
            if fields:
                self._expect(";")
            self._skip()
            name = self._word()
            of = self.type()
            align = _alignment(of, self.types)
            strictest = max(strictest, align)
            offset = (offset + align - 1) // align * align
            fields.append(Field(name, offset, of.place))
            offset += of.size
        size = (offset + strictest - 1) // strictest * strictest if strictest else 0
        return self.types.add(self._text[start : self._at], Kind.STRUCT, size, fields=tuple(fields))

    def _named(self, word: str, start: int) -> GoType:
        if word in _SIZES:
            kind, size = _SIZES[word]
            return self.types.add(word, kind, size)
        if word == "any":
            return self.types.add("interface {}", Kind.INTERFACE, 16)
        if not word:
            raise self.wrong("a type is expected here", start)
        described = self.types.described(word)
        if described is not None:
            return described
        if word in ("error", "context.Context"):
            return self.types.add(word, Kind.INTERFACE, 16, methods=True)
        raise self.wrong(
            f"the executable has no description of {word}: spell it out, struct{{a int; b string}}", start
        )


def _alignment(of: GoType, types: WrittenTypes) -> int:
    from undergo.goexe.abi import alignment

    return alignment(of, types)
