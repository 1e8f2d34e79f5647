"""Writing a binary into a configuration file: that entry changes, and no other byte of the file."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undergo.errors import UsageError
from undergo.target.config import Config, parse_config
from undergo.target.config_entry import Entry, WrittenSymbol, of_path, with_entry

FILE = "/etc/undergo/all.yaml"
ENTRY = Entry(
    "/etc/undergo/shop",
    "0f3c",
    "go1.24.11",
    (
        WrittenSymbol("main.(*T).order", 7, 0x401000, (0x401010, 0x401020)),
        WrittenSymbol("main.forever", 8, 0x401040, ()),
        WrittenSymbol("main.Map[...]", 9, None, ()),
    ),
)
WRITTEN = """\
path: "shop"
build_id: "0f3c"
go: "go1.24.11"
symbols:
  - name: "main.(*T).order"
    fun_id: 7
    entry: 0x401000
    rets: [0x401010, 0x401020]
  - name: "main.forever"
    fun_id: 8
    entry: 0x401040
    rets: []
  - name: "main.Map[...]"
    fun_id: 9
"""


def item(indent: int, text: str = WRITTEN) -> str:
    """The entry as one of a list."""
    lines = text.splitlines()
    return "".join(f"{' ' * indent}{'  ' if number else '- '}{line}\n" for number, line in enumerate(lines))


def refused(text: str, entry: Entry = ENTRY) -> str:
    with pytest.raises(UsageError) as caught:
        with_entry(text, FILE, entry)
    return caught.value.message


def symbols(config: Config, path: str = ENTRY.path) -> list[WrittenSymbol]:
    """What a configuration says of a binary's functions."""
    index = of_path(config, path)
    assert index is not None
    return [
        WrittenSymbol(
            symbol.name.value,
            symbol.fun_id.value if symbol.fun_id else 0,
            symbol.entry.value if symbol.entry else None,
            tuple(given.value for given in symbol.rets),
        )
        for symbol in config.binaries[index].symbols
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_a_new_file(text: str) -> None:
    """One line says what it is for, then the entry."""
    head, _, rest = with_entry(text, FILE, ENTRY).partition("\n")
    assert head.startswith("# ")
    assert "undergo config" in head
    assert "binaries:\n" + item(2) == rest


@pytest.mark.parametrize(
    "text", ["# mine\noptions: {sort: p99}", "# mine\noptions: {sort: p99}\n", "# only\n"]
)
def test_a_file_without_binaries(text: str) -> None:
    """They come after what is there, with an empty line between."""
    assert text.rstrip("\n") + "\n\nbinaries:\n" + item(2) == with_entry(text, FILE, ENTRY)


@pytest.mark.parametrize("indent", [0, 2, 4])
@pytest.mark.parametrize("after", ["", "\n# about sets\nsets:\n  a: x  # y\n"])
@pytest.mark.parametrize(
    "last", ["path: other # mine\n", "{path: other} # mine\n", "pid: [1,\n          2] # mine\n"]
)
def test_adding_to_binaries(indent: int, after: str, last: str) -> None:
    """The entry follows the last one, as far to the right; each comment stays where it was."""
    before = f"# mine\nbinaries:   # all\n{' ' * indent}- {last}"
    assert before + item(indent) + after == with_entry(before + after, FILE, ENTRY)


def test_adding_to_a_file_without_a_last_line_end() -> None:
    """The line that was not ended is, and the new last one is not."""
    assert "binaries:\n- path: other\n" + item(0)[:-1] == with_entry("binaries:\n- path: other", FILE, ENTRY)


OLD = """\
path: ./shop   # the old one
    pid: 17
    # inside
    build_id: ffff
    functions: ['@handlers', main.(*T).f]
    symbols:
      - {name: main.(*T).order, fun_id: 7, entry: 1}
"""
KEPT = WRITTEN.replace('"shop"\n', '"shop"\npid: [17]\nfunctions: ["@handlers", "main.(*T).f"]\n')
BEFORE = "# head\n\noptions:\n    sort:   'p99'\n\nbinaries:\n  - path: a   # a\n    # of a\n\n  # of shop\n"
AFTER = "\n  # of b\n  - { path : b }\n\n# sets\nsets: {a:    [x]}\n# end"


def test_replacing() -> None:
    """Nothing around the entry changes; pids and patterns, which are not of the build, are kept in it."""
    text = BEFORE + "  - " + OLD + AFTER
    assert BEFORE + item(2, KEPT) + AFTER == with_entry(text, FILE, ENTRY)


@pytest.mark.parametrize("start", ["  -   ", "  -\n      ", "  - # of it\n    "])
def test_replacing_wherever_an_entry_begins(start: str) -> None:
    """Its first name may stand right of the dash or below it."""
    column = len(start.rpartition("\n")[2])
    old = start + f"path: shop\n{' ' * column}pid: 17\n"
    new = KEPT.replace('functions: ["@handlers", "main.(*T).f"]\n', "").replace("\n", "\n" + " " * column)
    text = with_entry("binaries:\n" + old + AFTER, FILE, ENTRY)
    assert "binaries:\n" + start + new.rstrip() + "\n" + AFTER == text


def test_the_binary_is_found_however_its_path_is_spelt() -> None:
    """Relative, absolute or the long way round; another one of the same name is another."""
    for spelt in ("shop", "./x/../shop", "/etc/undergo/shop", "'../undergo/shop'"):
        text = with_entry(f"binaries:\n- path: {spelt}\n", FILE, ENTRY)
        assert "binaries:\n" + item(0) == text
    assert 2 == len(parse_config(with_entry("binaries:\n- path: ../shop\n", FILE, ENTRY), FILE).binaries)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/etc/undergo/b/shop", "b/shop"), ("/etc/shop", "/etc/shop"), ("/etc/undergo-2/x", "/etc/undergo-2/x")],
)
def test_paths_below_the_file_are_relative(path: str, expected: str) -> None:
    """So a folder can be moved as a whole; others are absolute."""
    text = with_entry("", FILE, Entry(path, "id", "go", ()))
    assert f'  - path: "{expected}"\n' in text
    assert 0 == of_path(parse_config(text, FILE), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("binaries: []\n", f"{FILE}:1: binaries: in brackets it cannot be added to"),
        ("\nbinaries: [{path: a}]\n", f"{FILE}:2: binaries: in brackets it cannot be added to"),
        (
            "binaries:\n- path: a\n- {path: shop}\n",
            f"{FILE}:3: binaries[1]: in braces it cannot be brought up to date",
        ),
    ],
)
def test_brackets_and_braces_are_refused(text: str, message: str) -> None:
    """What would have to be laid out anew is left alone."""
    assert message == refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "options: {sort: p99}\n...\n",
        "  options: {sort: p99}\n",
        "binaries: &all\n  - path: a\n",
        "binaries:\n  - path: shop\n    functions: &f [x]\n  - path: b\n    functions: *f\n",
        "binaries:\n  - path: b\n    functions: |\n      # no comment\n",
    ],
)
def test_what_would_break_is_refused(text: str) -> None:
    """Where the entry does not fit, the file is said to be as it is; it can still be read."""
    parse_config(text, FILE)
    assert f"{FILE}: the entry of /etc/undergo/shop does not fit into it" == refused(text)


def test_a_file_that_is_wrong_is_not_written_to() -> None:
    """Its own error is told first."""
    assert f"{FILE}:2: binaries[0].pth: unknown key" == refused("binaries:\n- pth: a\n")


def test_windows_line_ends_stay() -> None:
    """New lines get the same."""
    old = "options: {}\r\nbinaries:\r\n- path: b # x\r\n# end\r\n"
    new = with_entry(old, FILE, ENTRY)
    assert old.replace("# end\r\n", item(0).replace("\n", "\r\n") + "# end\r\n") == new


@pytest.mark.parametrize(
    "name", ["a b", 'a"b', "a\\b", "a: b", "#a", "\x7f", "\x85", "\u2028", "\ufeff", "\U0001f600"]
)
def test_names_of_any_characters(name: str) -> None:
    """What is read again is what was written."""
    entry = Entry(f"/etc/undergo/{name}", name, name, (WrittenSymbol(name, 1, 2, (3,)),))
    config = parse_config(with_entry("", FILE, entry), FILE)
    assert [WrittenSymbol(name, 1, 2, (3,))] == symbols(config, entry.path)
    build_id = config.binaries[0].build_id
    assert build_id is not None
    assert name == build_id.value


def test_a_name_that_is_no_text() -> None:
    """File names may have bytes that are not UTF-8; a configuration may not."""
    assert "does not fit" in refused("", Entry("/etc/undergo/\udcff", "", "", ()))


COMMENTS = st.sampled_from(["", "", "# c", "   # d: [", "#", "  "])
OTHERS = st.sampled_from(
    ["path: b", "pid: 5", "{path: b}", "path: 'b'\n    functions: [x, 'y']", "path: b\n\n    pid: 1"]
)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str, str]:
    """A file that has the binary, with its comments: before it, its entry, and behind it."""

    def comments() -> str:
        return "".join(f"{line}\n" for line in draw(st.lists(COMMENTS, max_size=3)))

    def others() -> str:
        return "".join(f"  - {draw(OTHERS)}\n{comments()}" for _ in range(draw(st.integers(0, 2))))

    before = f"{comments()}options: {{sort: sum}}\n{comments()}binaries:\n{comments()}{others()}"
    return before, draw(st.sampled_from([OLD, "path: shop\n"])), f"{comments()}{others()}"


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(file=files(), sets=st.booleans())
def test_only_the_entry_changes(file: tuple[str, str, str], sets: bool) -> None:
    """All before its dash and behind its last line is the same, and writing it again changes nothing."""
    before, old, after = file
    after += "sets: {a: x}\n" if sets else ""
    once = with_entry(f"{before}  - {old}{after}", FILE, ENTRY)
    assert before + item(2, KEPT if old == OLD else WRITTEN) + after == once
    assert list(ENTRY.symbols) == symbols(parse_config(once, FILE))
    assert once == with_entry(once, FILE, ENTRY)
    moved = Entry(ENTRY.path, "1", "go1.27", (WrittenSymbol("main.f", 3, 5, ()),))
    assert once == with_entry(with_entry(once, FILE, moved), FILE, ENTRY)
