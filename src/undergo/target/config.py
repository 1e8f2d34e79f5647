"""The configuration file of `-c`: binaries, functions, sets and options, each value with its line.

    options: {duration: 30s, sort: p99}          # by the long names of the command line's
    sets:
      orders: ['main.*Order*', '@sql']           # then -f @orders
    binaries:
      - path: ./shop                             # relative to this file; all its processes, or those of `pid`
        pid: [4711, 4712]
        functions: ['@handlers', '@orders']
      - path: ./upf
        build_id: 0f3c...                        # written by `undergo config`, like all below
        symbols:
          - {name: main.forward, fun_id: 1, entry: 0x49f3c0, rets: [0x49f400, 0x49f41c]}

Everything that is wrong is told with file, line and key. Whether the addresses are right, the planner knows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

import yaml

from undergo.errors import PermissionDeniedError, UsageError

Value = TypeVar("Value")

_LARGEST_FILE = 1 << 26  # bytes; 100,000 symbols take 10 MB
_LONGEST_QUOTE = 60  # characters of a value that a message repeats
_DEEPEST = 100  # levels; there is a place for 6
_SURELY_HARMLESS = 10_000  # levels; PyYAML's C code overflows the stack at some 30,000


@dataclass(frozen=True, slots=True)
class Given(Generic[Value]):
    """A value and where it stands."""

    value: Value
    key: str  # "binaries[0].symbols[2].entry"
    file: str
    line: int  # from 1

    def wrong(self, message: str, hint: str = "") -> UsageError:
        """The error that says so."""
        return UsageError(_in_one_line(f"{self.file}:{self.line}: {self.key}: {message}"), _in_one_line(hint))


def _in_one_line(text: str) -> str:
    """Keys and values may hold any character."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True, slots=True)
class Symbol:
    """One function; addresses are link-time virtual addresses or offsets in the file, () and None if not given."""

    name: Given[str]
    fun_id: Given[int] | None
    entry: Given[int] | None
    rets: tuple[Given[int], ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """One program. Without `pids`, all processes of `path`, present and future."""

    at: Given[None]  # where its entry begins
    path: Given[str] | None  # absolute
    pids: tuple[Given[int], ...]
    build_id: Given[str] | None
    functions: tuple[Given[str], ...]
    symbols: tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole file."""

    options: tuple[tuple[str, Given[str | tuple[str, ...]]], ...]
    sets: Mapping[str, tuple[str, ...]]  # by name, "@orders"
    binaries: tuple[Binary, ...]


def read_config(path: str) -> Config:
    """Raises UsageError with file, line and key, and PermissionDeniedError."""
    return parse_config(_text(path), path)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except PermissionError:
        raise PermissionDeniedError(f"{path}: this user may not read it") from None
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", "`undergo config -e EXECUTABLE -f ...` writes one"
        ) from None
    if len(raw) > _LARGEST_FILE:
        raise UsageError(f"{path}: too large for a configuration")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: not a text in UTF-8") from None


def parse_config(text: str, path: str) -> Config:
    """The configuration in a text; `path` is what messages call it, and where its relative paths start."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if _is_deep(text, loader):
            raise UsageError(f"{path}: nested too deeply")
        root = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        before = text.encode()[: getattr(error, "position", 0)]  # where there is no mark
        line = mark.line if mark else before.count(b"\n")
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or "it does not parse"
        raise UsageError(f"{path}:{line + 1}: not YAML: {why}") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply") from None
    except UnicodeEncodeError:  # lone surrogates, which only come of file names
        raise UsageError(f"{path}: not a text in UTF-8") from None
    if root is None:
        return Config((), {}, ())
    top = _Node(root, "", path).fields("options", "sets", "binaries")
    options = top["options"].any_fields() if "options" in top else {}
    sets = top["sets"].any_fields() if "sets" in top else {}
    binaries = top["binaries"].items() if "binaries" in top else []
    known = tuple(_binary(node) for node in binaries)
    _distinct(known)
    for name, node in sets.items():
        if name.startswith("@") and name[1:] in sets:
            raise node.given(None).wrong("it is there twice", f"{name[1:]} is the same set")
    return Config(
        tuple((name, node.option()) for name, node in options.items()),
        {"@" + name.removeprefix("@"): _set(node) for name, node in sets.items()},
        known,
    )


def _is_deep(text: str, loader: type[yaml.SafeLoader | yaml.CSafeLoader]) -> bool:
    # each level takes a bracket or a column, two at most share one: most texts need no closer look
    lines = text.splitlines()
    if text.count("[") + text.count("{") + 2 * max(map(len, lines), default=0) < _SURELY_HARMLESS:
        return False
    level = 0
    for event in yaml.parse(text, Loader=loader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > _DEEPEST:
            return True
    return False


def _set(node: _Node) -> tuple[str, ...]:
    patterns = tuple(given.value for given in node.texts())
    if not patterns:
        raise node.given(None).wrong("a set needs at least one pattern")
    return patterns


def _binary(node: _Node) -> Binary:
    fields = node.fields("path", "pid", "build_id", "go", "functions", "symbols")
    path = fields["path"].text() if "path" in fields else None
    pids = tuple(fields["pid"].numbers()) if "pid" in fields else ()
    if path is None and not pids:
        raise node.given(None).wrong("neither path nor pid", "path: /the/executable, or pid: 4711")
    if path is not None:
        base = os.path.dirname(os.path.abspath(node.file))
        path = Given(os.path.normpath(os.path.join(base, path.value)), path.key, path.file, path.line)
    return Binary(
        node.given(None),
        path,
        pids,
        fields["build_id"].text() if "build_id" in fields else None,
        tuple(fields["functions"].texts()) if "functions" in fields else (),
        tuple(map(_symbol, fields["symbols"].items())) if "symbols" in fields else (),
    )


def _symbol(node: _Node) -> Symbol:
    if isinstance(node.node, yaml.ScalarNode):
        return Symbol(node.text(), None, None, ())
    fields = node.fields("name", "fun_id", "entry", "rets")
    if "name" not in fields:
        raise node.given(None).wrong("name is missing")
    return Symbol(
        fields["name"].text(),
        fields["fun_id"].number() if "fun_id" in fields else None,
        fields["entry"].number() if "entry" in fields else None,
        tuple(fields["rets"].numbers()) if "rets" in fields else (),
    )


def _distinct(binaries: Sequence[Binary]) -> None:
    ids: dict[int, Given[int]] = {}
    for binary in binaries:
        names: dict[str, Given[str]] = {}
        for symbol in binary.symbols:
            first = names.setdefault(symbol.name.value, symbol.name)
            if first is not symbol.name:
                raise symbol.name.wrong(f"{first.value} is also in line {first.line}")
            if symbol.fun_id is None:
                continue
            other = ids.setdefault(symbol.fun_id.value, symbol.fun_id)
            if other is not symbol.fun_id:
                raise symbol.fun_id.wrong(
                    f"{other.value} is also in line {other.line}", "each function has its own fun_id"
                )


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of the file, asked for what is expected there."""

    node: yaml.Node
    key: str
    file: str

    def given(self, value: Value) -> Given[Value]:
        return Given(value, self.key or "the file", self.file, self.node.start_mark.line + 1)

    def any_fields(self) -> dict[str, _Node]:
        """Of a mapping: its values by name."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.given(None).wrong(f"names and values are expected here, not {_kind(self.node)}")
        found: dict[str, _Node] = {}
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Node(key, self.key, self.file).given(None).wrong("a name is expected here")
            path = f"{self.key}.{key.value}" if self.key else key.value
            if key.value in found:
                raise Given(None, path, self.file, key.start_mark.line + 1).wrong("it is there twice")
            # an empty value has the line of what follows: the name's line is where people look
            found[key.value] = _Node(
                value if value.value or not _scalar(value) else _nothing_at(key), path, self.file
            )
        return found

    def fields(self, *known: str) -> dict[str, _Node]:
        """Of a mapping with these names only."""
        found = self.any_fields()
        for name, node in found.items():
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(known)}"
                raise node.given(None).wrong("unknown key", hint)
        return found

    def items(self) -> list[_Node]:
        """Of a list: its members."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.given(None).wrong(f"a list is expected here, not {_kind(self.node)}")
        return [_Node(node, f"{self.key}[{index}]", self.file) for index, node in enumerate(self.node.value)]

    def members(self) -> list[_Node]:
        """Of a list or a single value."""
        return [self] if isinstance(self.node, yaml.ScalarNode) else self.items()

    def text(self) -> Given[str]:
        if not _scalar(self.node) or not self.node.value:
            raise self.given(None).wrong(f"a text is expected here, not {_kind(self.node)}")
        return self.given(str(self.node.value))

    def texts(self) -> list[Given[str]]:
        return [node.text() for node in self.members()]

    def number(self) -> Given[int]:
        """A whole number of 64 bits that is not negative, also as 0x... and in quotes."""
        text = self.node.value if _scalar(self.node) else ""
        try:
            number = int(text.replace("_", ""), 16 if text[:2].lower() == "0x" else 10)
        except ValueError:
            number = -1
        if not 0 <= number < 1 << 64:
            raise self.given(None).wrong(f"a number is expected here, not {_kind(self.node)}")
        return self.given(number)

    def numbers(self) -> list[Given[int]]:
        return [node.number() for node in self.members()]

    def option(self) -> Given[str | tuple[str, ...]]:
        """As the command line would have it."""
        if isinstance(self.node, yaml.ScalarNode):
            return self.given(str(self.node.value))
        return self.given(tuple(node.text().value for node in self.items()))


def _scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _nothing_at(key: yaml.ScalarNode) -> yaml.ScalarNode:
    """An empty value in a name's place."""
    return yaml.ScalarNode("tag:yaml.org,2002:null", "", key.start_mark, key.end_mark)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        return (
            repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")
            if text
            else "nothing"
        )
    return "a list" if isinstance(node, yaml.SequenceNode) else "names and values"
