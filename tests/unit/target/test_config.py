"""The configuration file: everything in it has its value and its place, everything wrong is told with both."""

from __future__ import annotations

from pathlib import Path

import pytest

from undergo.errors import UsageError
from undergo.target.config import Config, Given, Symbol, parse_config, read_config

FILE = "/etc/undergo/all.yaml"
WHOLE = """\
# all there is
options:
  duration: 30s
  goid: [7, '8']
sets:
  orders: ['main.*Order*', '@sql']
  '@one': main.one
binaries:
  - path: ./shop
    pid: [4711, 4712]
    functions: ['@handlers', '@orders']
  - path: ../bin/upf
    build_id: 0f3c
    go: go1.24.11
    symbols:
      - {name: main.forward, fun_id: 1, entry: 0x49f3c0, rets: [0x49F400, 4846620]}
      - name: main.(*T).drop
        fun_id: 0x2
      - main.plain
  - pid: '17'
"""


def parsed(text: str) -> Config:
    return parse_config(text, FILE)


def values(*givens: Given[int] | Given[str]) -> list[int | str]:
    return [given.value for given in givens]


def refused(text: str) -> tuple[str, str]:
    """What is said of a text, and the hint."""
    with pytest.raises(UsageError) as caught:
        parsed(text)
    return caught.value.message, caught.value.hint


def binary(text: str) -> str:
    """A file with one binary in a line, the third."""
    return f"# one\nbinaries:\n  - {{path: a, {text}}}\n"


def test_every_key() -> None:
    """All of a file with all there can be."""
    config = parsed(WHOLE)
    assert [("duration", "30s"), ("goid", ("7", "8"))] == [(n, given.value) for n, given in config.options]
    assert {"@orders": ("main.*Order*", "@sql"), "@one": ("main.one",)} == config.sets
    shop, upf, running = config.binaries
    assert shop.path is not None
    assert upf.path is not None
    assert upf.build_id is not None
    assert ["/etc/undergo/shop", "/etc/bin/upf", "0f3c"] == values(shop.path, upf.path, upf.build_id)
    assert [4711, 4712] == values(*shop.pids)
    assert ["@handlers", "@orders"] == values(*shop.functions)
    assert ((), None, (), ()) == (upf.pids, shop.build_id, upf.functions, shop.symbols)
    assert (None, [17]) == (running.path, values(*running.pids))
    forward, drop, plain = upf.symbols
    assert forward.fun_id is not None
    assert forward.entry is not None
    assert [1, 0x49F3C0, 0x49F400, 4846620] == values(forward.fun_id, forward.entry, *forward.rets)
    assert drop.fun_id is not None
    assert ["main.(*T).drop", 2] == values(drop.name, drop.fun_id)
    assert (None, ()) == (drop.entry, drop.rets)
    assert Symbol(Given("main.plain", "binaries[1].symbols[2]", FILE, 19), None, None, ()) == plain


def test_every_value_knows_its_place() -> None:
    """File, line and key, of values in a list and in braces too; of a binary the line where it begins."""
    config = parsed(WHOLE)
    shop, upf, running = config.binaries
    forward, drop, _ = upf.symbols
    assert shop.path is not None
    assert [
        ("options.goid", 4),
        ("binaries[0]", 9),
        ("binaries[0].path", 9),
        ("binaries[0].pid[1]", 10),
        ("binaries[1].symbols[0].rets[1]", 16),
        ("binaries[1].symbols[1].name", 17),
        ("binaries[2].pid", 20),
    ] == [
        (given.key, given.line)
        for given in (
            config.options[1][1],
            shop.at,
            shop.path,
            shop.pids[1],
            forward.rets[1],
            drop.name,
            running.pids[0],
        )
    ]
    wrong = drop.name.wrong("it is gone", "look elsewhere")
    assert f"{FILE}:17: binaries[1].symbols[1].name: it is gone" == wrong.message
    assert "look elsewhere" == wrong.hint


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "options: {}\nsets: {}\nbinaries: []\n"])
def test_nothing_is_a_configuration(text: str) -> None:
    """An empty file says nothing, and so do empty parts."""
    assert Config((), {}, ()) == parsed(text)


def test_single_values_stand_for_lists() -> None:
    """A pid, a function, a return and a member of a set need no brackets."""
    config = parsed(
        "sets: {a: main.a}\n"
        "binaries: [{path: a, pid: 5, functions: '@a', symbols: [{name: main.f, rets: 0x10}]}]\n"
    )
    (only,) = config.binaries
    assert ("main.a",) == config.sets["@a"]
    assert [5, "@a", 16] == values(*only.pids, *only.functions, *only.symbols[0].rets)


@pytest.mark.parametrize(
    ("path", "file", "expected"),
    [
        ("shop", "/etc/all.yaml", "/etc/shop"),
        ("../b/./shop", "/etc/x/all.yaml", "/etc/b/shop"),
        ("/srv/shop", "/etc/all.yaml", "/srv/shop"),
        ("shop", "all.yaml", str(Path.cwd() / "shop")),
        ("shop", "sub/all.yaml", str(Path.cwd() / "sub" / "shop")),
    ],
)
def test_paths_are_relative_to_the_file(path: str, file: str, expected: str) -> None:
    """Not to the current directory, unless the file is named relative to that."""
    (only,) = parse_config(f"binaries: [{{path: {path}}}]", file).binaries
    assert only.path is not None
    assert expected == only.path.value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0x1F", 31),
        ("0X1f", 31),
        ("'0x1f'", 31),
        ("31", 31),
        ("0x49_f3c0", 0x49F3C0),
        ("1_000", 1000),
        ("010", 10),
        ("0", 0),
        ("0xffffffffffffffff", (1 << 64) - 1),
    ],
)
def test_numbers(text: str, number: int) -> None:
    """Decimal or with 0x, in quotes or not, underscores between digits; no octal; up to 64 bits."""
    (only,) = parsed(binary(f"symbols: [{{name: f, entry: {text}}}]")).binaries
    entry = only.symbols[0].entry
    assert entry is not None
    assert number == entry.value


@pytest.mark.parametrize(
    "text",
    ["-1", "1.5", "0x", "0xg", "1f", "_", "''", "~", "[1]", "{}", "0x10000000000000000", "0x" + "f" * 5000]
    + ["9" * 5000],
)
def test_what_is_no_number(text: str) -> None:
    """Each is refused at its place, however long it is."""
    message, _ = refused(binary(f"symbols: [{{name: f, entry: {text}}}]"))
    assert message.startswith(f"{FILE}:3: binaries[0].symbols[0].entry: a number is expected here, not ")
    assert len(message) < 200


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ("option: {}", 1, "option", "did you mean options?"),
        ("\nwhatever: 1", 2, "whatever", "one of: options, sets, binaries"),
        ("binaries:\n- pth: a\n", 2, "binaries[0].pth", "did you mean path?"),
        ("binaries:\n- path: a\n  function: a\n", 3, "binaries[0].function", "did you mean functions?"),
        (
            binary("symbols: [{nam: x}]"),
            3,
            "binaries[0].symbols[0].nam",
            "did you mean name?",
        ),
        (binary("symbols: [{name: f, ret: 1}]"), 3, "binaries[0].symbols[0].ret", "did you mean rets?"),
        ("binaries:\n- path: a\n  zzz:\n\n\n  pid: 1\n", 3, "binaries[0].zzz", ""),
    ],
)
def test_unknown_keys(text: str, line: int, key: str, hint: str) -> None:
    """The near miss is offered, else what there is."""
    message, said = refused(text)
    assert f"{FILE}:{line}: {key}: unknown key" == message
    assert said == hint if hint else said.startswith("one of: path, pid, ")


NAMES, LIST, TEXT = "names and values are", "a list is", "a text is"


@pytest.mark.parametrize(
    ("text", "line", "key", "expected", "found"),
    [
        ("just words", 1, "the file", NAMES, "'just words'"),
        ("- a\n", 1, "the file", NAMES, "a list"),
        ("options: [json]", 1, "options", NAMES, "a list"),
        ("\noptions:\n", 2, "options", NAMES, "nothing"),
        ("sets: main.*", 1, "sets", NAMES, "'main.*'"),
        ("binaries: ./shop", 1, "binaries", LIST, "'./shop'"),
        ("binaries:\n\n\nsets: {}", 1, "binaries", LIST, "nothing"),
        ("binaries: {path: a}", 1, "binaries", LIST, "names and values"),
        ("binaries:\n- ./shop\n", 2, "binaries[0]", NAMES, "'./shop'"),
        ("binaries:\n- path: [a]\n", 2, "binaries[0].path", TEXT, "a list"),
        ("binaries:\n- path: {a: b}\n", 2, "binaries[0].path", TEXT, "names and values"),
        ("binaries:\n- path:\n\n  pid: 1\n", 2, "binaries[0].path", TEXT, "nothing"),
        ("binaries:\n- ? path\n\n\n  ? pid\n", 2, "binaries[0].path", TEXT, "nothing"),
        (binary("pid: main"), 3, "binaries[0].pid", "a number is", "'main'"),
        (binary("pid: [1, x]"), 3, "binaries[0].pid[1]", "a number is", "'x'"),
        (binary("pid: {a: 1}"), 3, "binaries[0].pid", LIST, "names and values"),
        (binary("build_id: ''"), 3, "binaries[0].build_id", TEXT, "nothing"),
        (binary("build_id: [a]"), 3, "binaries[0].build_id", TEXT, "a list"),
        (binary("functions: ''"), 3, "binaries[0].functions", TEXT, "nothing"),
        (binary("functions: [a, [b]]"), 3, "binaries[0].functions[1]", TEXT, "a list"),
        (binary("symbols: main.f"), 3, "binaries[0].symbols", LIST, "'main.f'"),
        (binary("symbols: [[a]]"), 3, "binaries[0].symbols[0]", NAMES, "a list"),
        (binary("symbols: ['']"), 3, "binaries[0].symbols[0]", TEXT, "nothing"),
        (binary("symbols: [{name: ''}]"), 3, "binaries[0].symbols[0].name", TEXT, "nothing"),
        (binary("symbols: [{name: f, fun_id: x}]"), 3, "binaries[0].symbols[0].fun_id", "a number is", "'x'"),
        (
            binary("symbols: [{name: f, rets: [x]}]"),
            3,
            "binaries[0].symbols[0].rets[0]",
            "a number is",
            "'x'",
        ),
        ("sets:\n  a:\n  b: x\n", 2, "sets.a", TEXT, "nothing"),
        ("sets:\n  a: ['']\n", 2, "sets.a[0]", TEXT, "nothing"),
        ("sets: {a: {b: c}}", 1, "sets.a", LIST, "names and values"),
        ("options: {sort: {a: b}}", 1, "options.sort", LIST, "names and values"),
        ("options: {sort: [[a]]}", 1, "options.sort[0]", TEXT, "a list"),
    ],
)
def test_wrong_types(text: str, line: int, key: str, expected: str, found: str) -> None:
    """What is expected and what is there; an empty value is told in the line of its name."""
    assert (f"{FILE}:{line}: {key}: {expected} expected here, not {found}", "") == refused(text)


def test_a_name_that_is_no_text() -> None:
    """A list for a name is told with the mapping it is in."""
    assert f"{FILE}:2: options: a name is expected here" == refused("options:\n  ? [a]\n  : b\n")[0]


def test_a_symbol_without_a_name() -> None:
    """Its addresses alone say nothing."""
    message, _ = refused(binary("symbols: [{fun_id: 1}]"))
    assert f"{FILE}:3: binaries[0].symbols[0]: name is missing" == message


def test_a_binary_is_named_by_path_or_pid() -> None:
    """One of both is needed, and an empty list of pids is none."""
    for text in ("functions: [a]", "pid: []", "build_id: x"):
        message, hint = refused(f"binaries:\n- pid: 1\n- {text}\n")
        assert f"{FILE}:3: binaries[1]: neither path nor pid" == message
        assert "path: " in hint


def test_an_empty_set() -> None:
    """It could never select anything."""
    assert f"{FILE}:2: sets.a: a set needs at least one pattern" == refused("sets:\n  a: []\n")[0]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("options: {}\nsets: {}\noptions: {}\n", 3, "options"),
        ("options:\n  sort: a\n  sort: b\n", 3, "options.sort"),
        ("sets:\n  a: x\n  a: y\n", 3, "sets.a"),
        ("sets:\n  a: x\n  '@a': y\n", 3, "sets.@a"),
        ("binaries:\n- path: a\n  pid: 1\n  path: b\n", 4, "binaries[0].path"),
    ],
)
def test_a_key_that_is_there_twice(text: str, line: int, key: str) -> None:
    """The second is told; a set with and without its @ is the same one."""
    assert f"{FILE}:{line}: {key}: it is there twice" == refused(text)[0]


TWO = """\
binaries:
  - path: a
    symbols:
      - {{name: main.f, fun_id: 1}}
      - {{name: {name}, fun_id: {id}}}
  - path: b
    symbols:
      - {{name: main.f, fun_id: {other}}}
"""


def test_a_fun_id_belongs_to_one_function() -> None:
    """In one binary or two, however it is written, the other line is named."""
    assert 2 == len(parsed(TWO.format(name="main.g", id=2, other=3)).binaries)
    message, hint = refused(TWO.format(name="main.g", id="0x1", other=3))
    assert f"{FILE}:5: binaries[0].symbols[1].fun_id: 1 is also in line 4" == message
    assert "each function has its own fun_id" == hint
    message, _ = refused(TWO.format(name="main.g", id=2, other=2))
    assert f"{FILE}:8: binaries[1].symbols[0].fun_id: 2 is also in line 5" == message


def test_a_function_is_once_in_a_binary() -> None:
    """Though two binaries may both have one of that name."""
    message, _ = refused(TWO.format(name="main.f", id=2, other=3))
    assert f"{FILE}:5: binaries[0].symbols[1].name: main.f is also in line 4" == message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("binaries: [", 2),
        ("options:\n  a: b: c\n", 2),
        ("options: {}\nsets: *nowhere\n", 2),
        ("options: {}\n---\nsets: {}\n", 2),
        ("options: {}\n\tsets: {}\n", 2),
        ("# ä\n\nsets: {a: \x01}\n", 3),
        ("options: '\n", 2),
        ("%nonsense\n", 1),
    ],
)
def test_what_is_no_yaml(text: str, line: int) -> None:
    """The line is named where the reader gave up."""
    message, _ = refused(text)
    assert message.startswith(f"{FILE}:{line}: not YAML: ")
    assert len(message) > len(f"{FILE}:{line}: not YAML: ")


def test_an_alias_is_what_it_stands_for() -> None:
    """Its value is taken, from the line where that stands."""
    first, second = parsed(
        "binaries:\n- path: a\n  functions: &all\n    - main.f\n- path: b\n  functions: *all\n"
    ).binaries
    assert ["main.f"] == values(*first.functions) == values(*second.functions)
    assert [4, 4] == [first.functions[0].line, second.functions[0].line]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sets: {a: &x [main.f, *x]}", "sets.a[1]"),
        ("&x {options: *x}", "options.options"),
        ("binaries: &x [*x]", "binaries[0]"),
        ("binaries: [&x {path: a, functions: *x}]", "binaries[0].functions"),
        ("binaries: [{path: a, symbols: &x [*x]}]", "binaries[0].symbols[0]"),
    ],
)
def test_what_contains_itself(text: str, key: str) -> None:
    """An alias within what it stands for is of the wrong type at some depth."""
    message, _ = refused(text)
    assert message.startswith(f"{FILE}:1: {key}: ")
    assert " expected here, not " in message


@pytest.mark.parametrize("depth", [50, 1_000, 20_000, 200_000])
@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? ", "? - "])
def test_deep_nesting(piece: str, depth: int) -> None:
    """No depth exhausts a stack, neither Python's nor C's."""
    message, _ = refused(piece * depth)
    assert message.startswith(FILE)
    if depth == 200_000:
        assert f"{FILE}: nested too deeply" == message


def test_many_brackets_are_not_deep() -> None:
    """A large file is read however many lists it has, one after the other."""
    functions = "\n".join(f"      - {{name: main.f{n}, rets: [1]}}" for n in range(8_000))
    (only,) = parsed(f"binaries:\n  - path: a\n    symbols:\n{functions}\n").binaries
    assert 8_000 == len(only.symbols)


def test_messages_are_one_line() -> None:
    """Keys and values of a file are shown without acting on a terminal, and not at any length."""
    message, hint = refused('"opt\\nions\\e[31m": {}')
    assert f"{FILE}:1: opt\\nions\\x1b[31m: unknown key" == message
    assert "did you mean options?" == hint
    message, _ = refused('binaries: [{pid: "\\e[31m\\u202e"}]')
    assert message.endswith("not '\\x1b[31m\\u202e'")
    message, _ = refused(binary(f"pid: {'x' * 10_000}"))
    assert message.endswith(f"not '{'x' * 60}...'")


def test_a_file(tmp_path: Path) -> None:
    """It is called as it was named, and its own folder counts."""
    path = tmp_path / "u.yaml"
    path.write_bytes(b"\xef\xbb\xbfbinaries:\r\n  - path: sh\xc3\xb6p\r\n")
    (only,) = read_config(str(path)).binaries
    assert Given(f"{tmp_path}/sh\u00f6p", "binaries[0].path", str(path), 2) == only.path


def test_a_missing_file(tmp_path: Path) -> None:
    """The command that writes one is named."""
    path = str(tmp_path / "none.yaml")
    with pytest.raises(UsageError) as caught:
        read_config(path)
    assert f"{path}: No such file or directory" == caught.value.message
    assert "undergo config" in caught.value.hint


def test_a_folder(tmp_path: Path) -> None:
    """It is no file."""
    with pytest.raises(UsageError) as caught:
        read_config(str(tmp_path))
    assert f"{tmp_path}: Is a directory" == caught.value.message


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """The line with the first byte that is not UTF-8."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"# \xc3\xa4\noptions: {}\n# \xe4\n")
    with pytest.raises(UsageError) as caught:
        read_config(str(path))
    assert f"{path}:3: not a text in UTF-8" == caught.value.message


def test_a_file_too_large_for_a_configuration(tmp_path: Path) -> None:
    """A file with a hole of a terabyte is not read to its end."""
    path = tmp_path / "huge.yaml"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError) as caught:
        read_config(str(path))
    assert f"{path}: too large for a configuration" == caught.value.message
