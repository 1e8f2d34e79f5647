"""Writing a binary into a configuration file, so that nothing else in the file changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import yaml

from undergo.errors import UsageError
from undergo.target.config import Binary, Config, Given, Symbol, parse_config

_HEAD = (
    "# For `undergo latency -c`, `trace -c` and others. `undergo config` brings the addresses up to date.\n"
)


@dataclass(frozen=True, slots=True)
class WrittenSymbol:
    """A function with the addresses of this build, link-time virtual addresses."""

    name: str
    fun_id: int
    entry: int | None  # None: several instances share the name
    rets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written of one binary."""

    path: str  # absolute
    build_id: str
    go: str
    symbols: tuple[WrittenSymbol, ...]


def with_entry(text: str, path: str, entry: Entry) -> str:
    """The text of the file at `path` with the entry in place of the one of the same binary, else added.

    Comments inside an entry that is replaced are lost. Raises UsageError where the file is not right, or so
    written that the entry does not fit: what is returned says the same as before of all else.
    """
    config = parse_config(text, path)
    index = of_path(config, entry.path)
    written = _with_entry(text, path, entry, config, index)
    try:
        then = parse_config(written, path)
    except UsageError:
        then = Config((), {}, ())
    if of_path(then, entry.path) is None or _others(then, entry.path) != _others(config, entry.path):
        raise UsageError(
            f"{path}: the entry of {entry.path} does not fit into it",
            "take anchors, braces and document marks out of it, or name another file with -o",
        )
    return written


def _others(config: Config, path: str) -> object:
    """What a configuration says of all but one binary, wherever that stands."""
    return (
        [(name, given.value) for name, given in config.options],
        config.sets,
        [_values(binary) for binary in config.binaries if binary.path is None or binary.path.value != path],
    )


def _values(value: object) -> object:
    """A binary without places."""
    if isinstance(value, Given):
        return value.value
    if isinstance(value, tuple):
        return [_values(member) for member in value]
    if isinstance(value, Binary | Symbol):
        return [_values(getattr(value, field.name)) for field in fields(value)]
    return value


def _with_entry(text: str, path: str, entry: Entry, config: Config, index: int | None) -> str:
    node = _binaries(text, path)
    newline = "\r\n" if "\r\n" in text else "\n"
    if node is None:
        lines = ["binaries:", *_item(_lines(entry, path, (), ()), 2)]
        return (text.rstrip("\r\n") + 2 * newline if text.strip() else _HEAD) + newline.join(lines) + newline
    if not isinstance(node, yaml.SequenceNode) or node.flow_style:
        raise Given(None, "binaries", path, node.start_mark.line + 1).wrong(
            "in brackets it cannot be added to", "write one binary a line, with -"
        )
    if index is None:
        end = _end(text, node.value[-1])
        lines = _item(_lines(entry, path, (), ()), node.start_mark.column)
        return text[:end] + newline + newline.join(lines) + text[end:]
    old, member = config.binaries[index], node.value[index]
    if member.flow_style:
        raise old.at.wrong("in braces it cannot be brought up to date", "write one name a line")
    pids = [given.value for given in old.pids]
    functions = [given.value for given in old.functions]
    start, end = member.start_mark.index, _end(text, member)
    lines = [
        " " * member.start_mark.column + line if number else line
        for number, line in enumerate(_lines(entry, path, pids, functions))
    ]
    return text[:start] + newline.join(lines) + text[end:]


def of_path(config: Config, path: str) -> int | None:
    """The index of a binary in a configuration."""
    paths = [binary.path.value if binary.path else None for binary in config.binaries]
    return paths.index(path) if path in paths else None


def _binaries(text: str, path: str) -> yaml.Node | None:
    try:  # not the loader that read it: only this one's marks count the characters of any text
        root = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
    except (yaml.YAMLError, RecursionError):
        raise UsageError(f"{path}: it is too unusual to be written to", "name another file with -o") from None
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == "binaries"), None)


def _end(text: str, node: yaml.CollectionNode) -> int:
    """Where a node's own text ends: what follows it, comments and empty lines, belongs to what is next."""
    if node.flow_style:  # a comment behind it is its own
        return len(text[: node.end_mark.index] + text[node.end_mark.index :].partition("\n")[0].rstrip())
    end = len(text[: node.end_mark.index].rstrip())
    while True:
        start = text.rfind("\n", 0, end) + 1
        if not text[start:end].lstrip().startswith("#"):
            return end
        end = len(text[:start].rstrip())


def _item(lines: Iterable[str], column: int) -> list[str]:
    return [" " * column + ("  " if number else "- ") + line for number, line in enumerate(lines)]


def _lines(entry: Entry, path: str, pids: Sequence[int], functions: Sequence[str]) -> Iterator[str]:
    base = os.path.dirname(os.path.abspath(path))
    relative = os.path.relpath(entry.path, base)
    yield f"path: {_quoted(entry.path if relative.startswith('..') else relative)}"
    if pids:
        yield f"pid: {[*pids]}"
    if functions:
        yield f"functions: [{', '.join(map(_quoted, functions))}]"
    yield f"build_id: {_quoted(entry.build_id)}"
    yield f"go: {_quoted(entry.go)}"
    yield "symbols:" if entry.symbols else "symbols: []"
    for symbol in entry.symbols:
        yield f"  - name: {_quoted(symbol.name)}"
        yield f"    fun_id: {symbol.fun_id}"
        if symbol.entry is not None:
            yield f"    entry: {symbol.entry:#x}"
            yield f"    rets: [{', '.join(map(hex, symbol.rets))}]"


def _quoted(text: str) -> str:
    """A YAML scalar; JSON's strings are YAML's, but for what is not printable."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
