"""Whatever stands in a configuration file: it is read, or refused in one line with its name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from undergo.errors import UndergoError, UsageError
from undergo.target.config import Config, parse_config, read_config
from undergo.target.config_entry import Entry, WrittenSymbol, of_path, with_entry

EXAMPLES = int(os.environ.get("UNDERGO_FUZZ_EXAMPLES", "300"))
fuzz = settings(max_examples=EXAMPLES, deadline=5000, suppress_health_check=list(HealthCheck))
FILE = "/etc/all.yaml"

# Pieces of configurations, so that what is tried gets past the first line.
KEYS = "options sets binaries path pid build_id go functions symbols name fun_id entry rets a".split()
VALUES = ["./shop", "main.f", "'@sql'", "@a", "0x10", "17", "-1", "''", '""', '"\\x07"', "~", "9" * 25]
MARKS = [
    "[",
    "]",
    "{",
    "}",
    ", ",
    "- ",
    "? ",
    ": ",
    "&x ",
    "*x",
    "!!int ",
    "<<: ",
    "|\n",
    ">\n",
    "# no",
    "\\",
]
MARKS += ["---\n", "...\n", "%YAML 1.1\n"]
SPACES = [
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n  - ",
    "\r\n",
    "\t",
    " ",
    "\0",
    "\x85",
    "\u2028",
    "\ufeff",
    "\U0001f600",
]
PIECES = [*(f"{key}: " for key in KEYS), *VALUES, *MARKS, *SPACES]
texts = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
scalars = st.one_of(
    st.text(max_size=8), st.integers(), st.none(), st.sampled_from(["0x1f", "main.f", "@a", "", "f" * 99])
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text()), inner),
    ),
    max_leaves=20,
)


def written(value: object) -> str:
    """A value as YAML of one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(key)}: {written(inner)}' for key, inner in value.items())}}}"
    return quoted(value) if isinstance(value, str) else "" if value is None else str(value)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


def read(text: str) -> Config | None:
    """The configuration of a text; None if it is refused as it should be."""
    try:
        return parse_config(text, FILE)
    except UsageError as error:
        assert_told(error, FILE)
        return None


def assert_told(error: UndergoError, path: str) -> None:
    assert error.message.startswith(f"{path}:")
    assert error.message.isprintable()
    assert error.hint.isprintable()


def test_the_pieces_can_make_a_configuration() -> None:
    """What is tried is not refused at its first word."""
    assert read("binaries: \n- path: main.f\n  pid: 17\n  functions: [@sql]\n".replace("@sql", "'@sql'"))


@fuzz
@given(text=texts)
@example(text="binaries: [{pid: 0x" + "f" * 5000 + "}]")
@example(text="[" * 100_000)
@example(text="sets: &x {a: *x}")
def test_any_text(text: str) -> None:
    """One line of refusal, or a configuration in which every value has a place in the file."""
    config = read(text)
    for binary in config.binaries if config else ():
        assert binary.path is not None or binary.pids
        for given_value in (binary.at, *binary.pids, *binary.functions):
            assert 1 <= given_value.line <= len(text.splitlines()) + 1


@fuzz
@given(tree=trees)
def test_any_tree(tree: object) -> None:
    """Valid YAML of any shape."""
    read(written(tree))


@fuzz
@given(raw=st.one_of(st.binary(max_size=200), texts.map(str.encode), texts.map(lambda t: t.encode("utf-16"))))
def test_any_bytes(raw: bytes) -> None:
    """A file of anything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "u.yaml"
        path.write_bytes(raw)
        try:
            read_config(str(path))
        except UndergoError as error:
            assert_told(error, str(path))


symbols = st.builds(
    WrittenSymbol,
    st.text(min_size=1, max_size=12),
    st.integers(0, (1 << 64) - 1),
    st.one_of(st.none(), st.integers(0, (1 << 64) - 1)),
    st.lists(st.integers(0, (1 << 64) - 1), max_size=3).map(tuple),
)
entries = st.builds(
    Entry,
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
    .filter(lambda name: name not in (".", ".."))
    .map("/etc/".__add__),
    st.text(min_size=1, max_size=12),
    st.text(min_size=1, max_size=12),
    st.lists(symbols, max_size=3, unique_by=lambda symbol: symbol.name)
    .filter(lambda all: len({symbol.fun_id for symbol in all}) == len(all))
    .map(tuple),
)


@fuzz
@given(text=texts, entry=entries)
def test_writing_into_any_text(text: str, entry: Entry) -> None:
    """What is written can be read, has the entry, and is not written otherwise a second time."""
    once = write(text, entry)
    if once is None:
        return
    config = parse_config(once, FILE)
    index = of_path(config, entry.path)
    assert index is not None
    found = config.binaries[index].symbols
    assert [symbol.name for symbol in entry.symbols] == [symbol.name.value for symbol in found]
    assert write(once, entry) in (once, None)


def write(text: str, entry: Entry) -> str | None:
    """The text with the entry; None if that is refused as it should be."""
    try:
        return with_entry(text, FILE, entry)
    except UsageError as error:
        assert_told(error, FILE)
        return None


@fuzz
@given(entry=entries)
def test_any_entry(entry: Entry) -> None:
    """In an empty file there is room for every entry."""
    try:
        text = with_entry("", FILE, entry)
    except UsageError as error:
        pytest.fail(f"{error.message} ({error.hint})")
    (only,) = parse_config(text, FILE).binaries
    assert only.path is not None
    assert only.build_id is not None
    assert (entry.path, entry.build_id) == (only.path.value, only.build_id.value)
    for symbol, given_symbol in zip(entry.symbols, only.symbols, strict=True):
        assert given_symbol.fun_id is not None
        entry_of = given_symbol.entry.value if given_symbol.entry else None
        rets = tuple(ret.value for ret in given_symbol.rets) if symbol.entry is not None else symbol.rets
        assert symbol == WrittenSymbol(given_symbol.name.value, given_symbol.fun_id.value, entry_of, rets)
