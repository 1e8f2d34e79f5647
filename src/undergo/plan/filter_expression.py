"""The language of --filter: comparisons in Go's own words, joined by &&, || and !.

    n > 10 && name == "bob"        numbers, strings, true, false
    hasPrefix(req.URL.Path, "/v1") a string's beginning
    err != nil && wall > 10ms      results, and how long the call took
    len(items) >= 1000             of strings, slices, maps and channels
    label("tenant") == "acme"      the goroutine's labels, as the profiler knows them
    !(ok || retries < 3)

Precedence is Go's. A path goes through fields and pointers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from undergo.durations import UNITS
from undergo.errors import UsageError

OPERATORS: Final = ("==", "!=", "<=", ">=", "<", ">")
_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<duration>\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h)\b)
  | (?P<number>0[xX][0-9a-fA-F_]+|\d+\.\d+(?:[eE][+-]?\d+)?|\d[\d_]*)
  | (?P<name>[^\W\d]\w*)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<raw>`[^`]*`)
  | (?P<op>&&|\|\||==|!=|<=|>=|[<>!().,-])
    )""",
    re.VERBOSE,
)
_PART: Final = re.compile(
    r"""(?P<plain>[^\\]+) | \\(?P<letter>[abfnrtv\\"]) | \\x(?P<byte>[0-9a-fA-F]{2}) | \\(?P<octal>[0-7]{3})
    | \\u(?P<short>[0-9a-fA-F]{4}) | \\U(?P<long>[0-9a-fA-F]{8}) | \\""",
    re.VERBOSE,
)
_LETTERS: Final = {
    "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v", "\\": b"\\", '"': b'"',
}  # fmt: skip
_DEEPEST: Final = 50
_DIGITS: Final = 300  # fewer than the largest float64 has


@dataclass(frozen=True, slots=True)
class Path:
    """A parameter or result and fields of it; `at` is where it stands in the expression."""

    names: tuple[str, ...]
    at: int
    length: bool = False  # len(path)
    label: str | None = None  # of the goroutine; there are no names then

    def __str__(self) -> str:
        if self.label is not None:
            return f"label({json.dumps(self.label, ensure_ascii=False)})"
        dotted = ".".join(self.names)
        return f"len({dotted})" if self.length else dotted


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path op value`; op is one of OPERATORS or "prefix". The value None is nil; a duration is ns."""

    path: Path
    op: str
    value: int | float | str | bool | None
    at: int  # of the value


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Both:
    """`a && b`, or `a || b`."""

    left: Expression
    right: Expression
    all: bool


Expression = Comparison | Not | Both


def _unescaped(part: re.Match[str]) -> bytes:
    """The bytes of a part of a text in quotes, as Go's specification has it. Raises ValueError or OverflowError."""
    kind = part.lastgroup
    text = part[kind or 0]
    match kind:
        case "plain":
            return text.encode("utf-8", "surrogateescape")
        case "letter":
            return _LETTERS[text]
        case "byte" | "octal":
            return bytes([int(text, 16 if kind == "byte" else 8)])
        case "short" | "long":
            return chr(int(text, 16)).encode()
    raise ValueError


def _number(token: _Token) -> int | float | None:
    """What it stands for, durations in ns; None if no type of Go holds that."""
    text = token.text.replace("_", "")
    if len(text) > _DIGITS:
        return None
    if token.kind == "duration":
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(\D+)", text)
        assert match is not None
        ns = float(match[1]) * UNITS[match[2]]
        return None if ns == math.inf else round(ns)
    return float(text) if "." in text else int(text, 16 if text[:2].lower() == "0x" else 10)


def wrong(text: str, at: int, message: str, option: str = "--filter") -> UsageError:
    """The error with a caret under the mistake."""
    shown = text.replace("\n", " ").replace("\t", " ")
    return UsageError(f"{option}: {message}", f"{shown}\n{' ' * at}^")


def parse(text: str) -> Expression:
    """Raises UsageError with a caret under what is wrong."""
    parser = _Parser(text, _tokens(text))
    found = parser.either()
    parser.end()
    return found


def parse_path(text: str, option: str) -> Path:
    """A path alone, `req.URL.Path` or `label("tenant")`. Raises UsageError with a caret under what is wrong."""
    parser = _Parser(text, _tokens(text, option), option)
    path = parser.path()
    parser.end("nothing is expected here")
    return path


def label_is(written: str) -> Comparison:
    """What --label KEY=VALUE means. Raises UsageError."""
    key, equals, value = written.partition("=")
    if not key or not equals:
        raise wrong(written, len(key), "KEY=VALUE is expected", "--label")
    return Comparison(Path((), 0, label=key), "==", value, len(key) + 1)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str, option: str = "--filter") -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            rest = len(text) - len(text[at:].lstrip())
            if rest == len(text):
                break
            if text[rest] in '"`':
                raise wrong(text, rest, "this text has no end", option)
            raise wrong(text, rest, f"{text[rest]!r} means nothing here", option)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


class _Parser:
    def __init__(self, text: str, tokens: Sequence[_Token], option: str = "--filter") -> None:
        self._text, self._tokens, self._option, self._next, self._depth = text, tokens, option, 0, 0

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        token = self._token
        if token.kind == "op" and token.text in texts:
            self._next += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if self._take(text) is None:
            raise self._wrong(f"{text!r} is expected here")

    def _wrong(self, message: str) -> UsageError:
        return wrong(self._text, self._token.at, message, self._option)

    def end(self, message: str = "&& or || is expected here") -> None:
        if self._token.kind != "end":
            raise self._wrong(message)

    def either(self) -> Expression:
        found = self.both()
        while self._take("||"):
            found = Both(found, self.both(), False)
        return found

    def both(self) -> Expression:
        found = self.one()
        while self._take("&&"):
            found = Both(found, self.one(), True)
        return found

    def one(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong("nested too deeply")
        try:
            if self._take("!"):
                return Not(self.one())
            if self._take("("):
                found = self.either()
                self._expect(")")
                return found
            return self.comparison()
        finally:
            self._depth -= 1

    def comparison(self) -> Expression:
        token = self._token
        if token.kind != "name":
            raise self._wrong("the name of a parameter or result is expected here")
        if token.text in ("hasPrefix", "len") and self._tokens[self._next + 1].text == "(":
            self._next += 2
            path = self.path()
            if token.text == "hasPrefix":
                self._expect(",")
                at = self._token.at
                value = self.value()
                if not isinstance(value, str):
                    raise wrong(self._text, at, "hasPrefix takes a text in quotes")
                self._expect(")")
                return Comparison(path, "prefix", value, at)
            self._expect(")")
            path = Path(path.names, token.at, True)
        else:
            path = self.path()
        op = self._take(*OPERATORS)
        if op is None:
            if self._token.kind == "end" or self._token.text in ("&&", "||", ")"):
                return Comparison(path, "==", True, path.at)  # a bool by itself
            raise self._wrong(f"a comparison is expected here: {' '.join(OPERATORS)}")
        at = self._token.at
        return Comparison(path, op.text, self.value(), at)

    def path(self) -> Path:
        first = self._token
        if first.text == "label" and self._tokens[self._next + 1].text == "(":
            self._next += 2
            if self._token.kind not in ("string", "raw"):
                raise self._wrong("a label's name in quotes is expected here")
            label = self._unquoted(self._token)
            self._next += 1
            self._expect(")")
            return Path((), first.at, label=label)
        names = []
        while True:
            if self._token.kind != "name":
                raise self._wrong("a name is expected here")
            names.append(self._token.text)
            self._next += 1
            if not self._take("."):
                return Path(tuple(names), first.at)

    def value(self) -> int | float | str | bool | None:
        sign = -1 if self._take("-") else 1
        token = self._token
        self._next += 1
        if token.kind in ("number", "duration"):
            number = _number(token)
            if number is None:
                raise wrong(self._text, token.at, "this number is too large", self._option)
            return sign * number
        if sign == 1 and token.kind in ("string", "raw"):
            return self._unquoted(token)
        if sign == 1 and token.kind == "name" and token.text in ("true", "false", "nil"):
            return {"true": True, "false": False, "nil": None}[token.text]
        self._next -= 1
        raise self._wrong(
            "a value is expected here: a number, a duration, a text in quotes, true, false or nil"
        )

    def _unquoted(self, token: _Token) -> str:
        if token.kind == "raw":
            return token.text[1:-1]
        try:
            raw = b"".join(map(_unescaped, _PART.finditer(token.text[1:-1])))
        except (ValueError, OverflowError):
            raise wrong(
                self._text, token.at, "this text has an escape that cannot be", self._option
            ) from None
        return raw.decode("utf-8", "surrogateescape")
