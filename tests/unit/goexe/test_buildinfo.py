"""Build info in both formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from goimage import DATA, FRAME, Image

from undergo.errors import GoVersionError, NotGoError, TruncatedError
from undergo.goexe.buildinfo import parse_build_info, read_build_info
from undergo.goexe.elf import ElfImage

Write = Callable[[bytes], Path]


@pytest.mark.parametrize("go", ["go1.17.13", "go1.18", "go1.27.3"])
@pytest.mark.parametrize("pie", [False, True])
@pytest.mark.parametrize("sections", [False, True])
def test_both_formats_are_read(write: Write, go: str, pie: bool, sections: bool) -> None:
    """Pointers (1.17) and inline strings, with a section or by the magic, give the same facts."""
    with ElfImage.open(write(Image(go, pie=pie, sections=sections).build())) as elf:
        build = read_build_info(elf)
    assert build.go_version == go
    assert build.version == (1, int(go.split(".")[1]))
    assert (build.path, build.module, build.module_version) == ("example.com/shop",) * 2 + ("v1.2.3",)
    assert build.pgo == "default.pgo"


@pytest.mark.parametrize(
    ("recorded", "version"),
    [
        ("go1.24.11", (1, 24)),
        ("go1.22rc1", (1, 22)),
        ("devel go1.25-0ad1b2c Mon Jan 1", (1, 25)),
        ("go1.23.1 X:boringcrypto", (1, 23)),
        ("go1.21.6-custom", (1, 21)),
    ],
)
def test_versions_as_people_build_them(recorded: str, version: tuple[int, int]) -> None:
    """Release candidates, development versions, experiments and vendors' suffixes are understood."""
    assert parse_build_info(recorded, "").version == version


@pytest.mark.parametrize(
    ("recorded", "words"),
    [("go1.16.15", "go1.16; undergo needs go1.17"), ("devel +abc", "unknown Go"), ("", "unknown Go")],
)
def test_versions_that_are_refused(recorded: str, words: str) -> None:
    """Go 1.16 and versions nobody can tell are refused by name."""
    with pytest.raises(GoVersionError, match=words):
        parse_build_info(recorded, "")


def test_settings_are_unquoted() -> None:
    """Values with spaces are quoted Go strings; keys are what stands before the first =."""
    lines = 'build\t-ldflags="-s -w -X main.v=\\"1\\""\nbuild\tvcs.revision=abc\nbuild\tvcs.modified=true\ndep\ta\tv1\n'
    build = parse_build_info("go1.24", FRAME + lines + FRAME)
    assert build.settings["-ldflags"] == '-s -w -X main.v="1"'
    assert build.vcs_revision == "abc+dirty"
    assert build.dependencies == 1


def test_no_build_info_is_not_go(write: Write) -> None:
    """An executable without the magic was not built by Go."""
    data = Image().build().replace(b"\xff Go buildinf:", b"\xff no buildinfo")
    with ElfImage.open(write(data)) as elf, pytest.raises(NotGoError, match="not built by Go"):
        read_build_info(elf)


def test_a_length_beyond_the_file_is_refused(write: Write) -> None:
    """A string said to be longer than the segment is not read."""
    data = bytearray(Image().build())
    data[DATA + 32 : DATA + 36] = b"\xff\xff\xff\x01"
    with ElfImage.open(write(bytes(data))) as elf, pytest.raises(TruncatedError):
        read_build_info(elf)


def test_the_magic_in_code_is_passed_over(write: Write) -> None:
    """The magic as a constant in the text (a program that reads build info) is not taken for the blob."""
    data = bytearray(Image(sections=False).build())
    at = 0x1000 + 16
    data[at : at + 14] = b"\xff Go buildinf:"
    with ElfImage.open(write(bytes(data))) as elf:
        assert read_build_info(elf).go_version == "go1.24.11"
