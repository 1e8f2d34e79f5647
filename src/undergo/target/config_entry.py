"""Writing a binary into a configuration file, so that nothing else in the file changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import yaml

from undergo.target.config import Config, parse_config

_HEAD = (
    "# For `undergo latency -c`, `trace -c` and others. `undergo config` brings the addresses up to date.\n"
)


@dataclass(frozen=True, slots=True)
class WrittenSymbol:
    """A function with the addresses of this build, link-time virtual addresses."""

    name: str
    fun_id: int
    entry: int
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

    Comments inside an entry that is replaced are lost. Raises UsageError where the file is not right.
    """
    config = parse_config(text, path)
    index = of_path(config, entry.path)
    node = _binaries(text)
    if node is None:
        lines = ["binaries:", *_item(_lines(entry, path, (), ()), 2)]
        return (text.rstrip("\n") + "\n\n" if text.strip() else _HEAD) + "\n".join(lines) + "\n"
    if not isinstance(node, yaml.SequenceNode) or node.flow_style:
        raise config.binaries[0].at.wrong(
            "in brackets it cannot be added to", "write one binary a line, with -"
        )
    if index is None:
        end = _end(text, node.value[-1])
        lines = _item(_lines(entry, path, (), ()), node.start_mark.column)
        return text[:end] + "\n" + "\n".join(lines) + text[end:]
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
    return text[:start] + "\n".join(lines) + text[end:]


def of_path(config: Config, path: str) -> int | None:
    """The index of a binary in a configuration."""
    paths = [binary.path.value if binary.path else None for binary in config.binaries]
    return paths.index(path) if path in paths else None


def _binaries(text: str) -> yaml.Node | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == "binaries"), None)


def _end(text: str, node: yaml.Node) -> int:
    """Where a node's own text ends: what follows it, comments and empty lines, belongs to what is next."""
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
    yield "symbols:"
    for symbol in entry.symbols:
        rets = ", ".join(map(hex, symbol.rets))
        yield f"  - name: {_quoted(symbol.name)}"
        yield f"    fun_id: {symbol.fun_id}"
        yield f"    entry: {symbol.entry:#x}"
        yield f"    rets: [{rets}]"


def _quoted(text: str) -> str:
    """A YAML scalar; JSON's strings are YAML's."""
    return json.dumps(text, ensure_ascii=False)
