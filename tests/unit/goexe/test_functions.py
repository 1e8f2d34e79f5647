"""The function table: header, names, addresses, pc tables."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from goimage import FUNCTIONS, MACHINES, Fn, Image

from undergo.errors import GoVersionError, TruncatedError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.function import Source
from undergo.goexe.functions import without_type_arguments

Opener = Callable[..., GoExecutable]
Write = Callable[[bytes], Path]
VERSIONS = ["go1.17.13", "go1.18.10", "go1.19.8", "go1.20.14", "go1.24.11", "go1.26.6", "go1.27.3"]
NAMES = [
    "main.add",
    "main.main",
    "main.(*T).Get",
    "main.(*T).Get",
    "main.Map[...]",
    "memmove",
    "runtime.deferreturn",
]


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("pie", [False, True])
@pytest.mark.parametrize("sections", [False, True])
def test_every_form_of_the_table(opened: Opener, go: str, machine: str, pie: bool, sections: bool) -> None:
    """All versions, machines, PIE or not, with sections or without: the same functions at their addresses."""
    image = Image(go, machine, pie=pie, sections=sections)
    executable = opened(image)
    functions = executable.functions
    assert functions.names == NAMES
    assert [f.entry for f in functions] == [image.entry(row + 1) for row in range(len(NAMES))]
    assert [f.end - f.entry for f in functions] == [fn.code for fn in FUNCTIONS[1:]]
    assert [f.line for f in functions] == [fn.line for fn in FUNCTIONS[1:]]
    assert [f.file for f in functions] == [fn.file for fn in FUNCTIONS[1:]]
    assert [f.index for f in functions if f.assembly] == [5]
    assert [f.index for f in functions if f.wrapper] == [2, 6]
    assert executable.pclntab_found == ("section .gopclntab" if sections else "scan")
    assert executable.moduledata_found == ("relocations" if pie else "scan")
    assert executable.moduledata.text == image.text


def test_named_prefers_what_is_not_a_wrapper(opened: Opener) -> None:
    """Of two functions of one name, the one a person wrote is meant."""
    functions = opened().functions
    assert functions.rows_named("main.(*T).Get") == (2, 3)
    found = functions.named("main.(*T).Get")
    assert found is not None and found.line == 30
    assert functions.named("main.nothing") is None


def test_find_knows_padding_from_code(opened: Opener) -> None:
    """An address in code finds its function; in padding and outside the text, none."""
    image = Image()
    functions = opened(image).functions
    assert functions.find(image.entry(1)) == functions[0]
    assert functions.find(image.entry(1) + 19) == functions[0]
    assert functions.find(image.entry(1) + 20) is None
    assert functions.find(image.entry(2)) == functions[1]
    assert functions.find(0) is None
    assert functions.find(1 << 70) is None


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("pie", [False, True])
def test_source_of_an_address(opened: Opener, go: str, pie: bool) -> None:
    """From a function's first byte to its last: its name, file and line."""
    image = Image(go, pie=pie)
    functions = opened(image).functions
    add = Source("main.add", "/src/main.go", 11)
    assert [add, add] == [functions.source(image.entry(1)), functions.source(image.entry(1) + 19)]
    assert Source("main.main", "/src/main.go", 15) == functions.source(image.entry(2) + 7)
    assert Source("memmove", "/go/memmove_amd64.s", 5) == functions.source(image.entry(6) + 63)
    assert Source("main.Map[...]", "/src/main.go", 10) == functions.source(image.entry(5))


def test_no_source_outside_functions(opened: Opener) -> None:
    """Padding, marks in the text, what lies beyond it, and no address at all."""
    image = Image()
    functions = opened(image).functions
    outside = [image.entry(1) + 20, image.entry(0), image.entry(1) - 1, image.entry(8), 0, -1, 1 << 70]
    assert [None] * len(outside) == [functions.source(address) for address in outside]


def test_select_gives_rows(opened: Opener) -> None:
    """A predicate over names selects rows, in the order of addresses."""
    functions = opened().functions
    assert functions.select(re.compile(r"main\.\(\*T\).*").fullmatch) == [2, 3]


def test_stack_deltas(opened: Opener) -> None:
    """pcsp gives the SP delta of every instruction."""
    image = Image()
    functions = opened(image).functions
    entry = image.entry(1)
    assert functions.pcsp(functions[0]) == [
        (entry, entry + 4, 0),
        (entry + 4, entry + 16, 24),
        (entry + 16, entry + 20, 0),
    ]


def test_code_leaves_padding_out(opened: Opener) -> None:
    """`code` is the instructions and `file_offset` where they are in the file."""
    executable = opened()
    function = executable.functions[0]
    assert executable.code(function) == b"\x90" * 20
    assert executable.elf.read_file(executable.file_offset(function.entry), 20) == b"\x90" * 20


def test_names_beyond_ascii(opened: Opener) -> None:
    """Names are UTF-8."""
    functions = (*FUNCTIONS, Fn("main.größe·1"))
    assert opened(Image(functions=functions)).functions.names[-1] == "main.größe·1"


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        ("main.Map[go.shape.int]", "main.Map[...]"),
        ("main.(*Set[go.shape.[]int]).Add.func1", "main.(*Set[...]).Add.func1"),
        ("main.plain", "main.plain"),
        ("odd]name[", "odd]name["),
    ],
)
def test_type_arguments_are_left_out(recorded: str, name: str) -> None:
    """Every version's names read alike: what stands in the outermost brackets is not part of them."""
    assert without_type_arguments(recorded) == name


def test_full_names_keep_type_arguments(opened: Opener) -> None:
    """The recorded name stays available."""
    assert opened().functions.full_name(4) == "main.Map[go.shape.int]"


@pytest.mark.parametrize("word", [1, 4, 5, 6, 7, 8])  # not the number of files: it is not relied on
def test_a_header_that_contradicts_itself(write: Write, word: int) -> None:
    """Each number of the header, made absurd, is refused."""
    data = bytearray(Image().build())
    at = data.index(struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)) + 8 * word
    data[at : at + 8] = b"\xff" * 8
    with pytest.raises(TruncatedError):
        GoExecutable.open(write(bytes(data)))


def test_a_table_of_go_1_15_is_refused_by_its_age(write: Write) -> None:
    """The magic of Go 1.2 to 1.15 gives an error about the version, not about damage."""
    data = Image().build().replace(struct.pack("<I", 0xFFFFFFF1), struct.pack("<I", 0xFFFFFFFB))
    with pytest.raises(GoVersionError, match=r"Go 1\.15 or older"):
        GoExecutable.open(write(data))


def test_no_table_at_all(write: Write) -> None:
    """A packed executable has build info, perhaps, but no function table."""
    data = Image(sections=False).build().replace(struct.pack("<I", 0xFFFFFFF1), b"\0\0\0\0")
    with pytest.raises(TruncatedError, match="no Go function table"):
        GoExecutable.open(write(data))


def test_a_lookalike_header_is_passed_over(write: Write) -> None:
    """Without sections, the header's bytes as a constant elsewhere are not taken for the table."""
    data = bytearray(Image(sections=False).build())
    data[0x20000 + 1024 + 560 : 0x20000 + 1024 + 568] = struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)
    with GoExecutable.open(write(bytes(data))) as executable:
        assert executable.functions.names == NAMES
