"""Damaged executables: only undergo's own errors, never another exception, never a hang."""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "goexe"))

import toolchains
from goimage import Image

from undergo.errors import UndergoError
from undergo.goexe.executable import GoExecutable

EXAMPLES = int(os.environ.get("UNDERGO_FUZZ_EXAMPLES", "150"))
fuzz = settings(max_examples=EXAMPLES, deadline=5000, suppress_health_check=list(HealthCheck))

IMAGES = [
    Image(go, pie=pie, sections=sections).build()
    for go in ("go1.17.13", "go1.19.8", "go1.24.11", "go1.27.3")
    for pie in (False, True)
    for sections in (False, True)
]
NUMBERS = st.one_of(
    st.sampled_from(
        [0, 1, 7, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, (1 << 64) - 1]
    ),
    st.integers(0, (1 << 64) - 1),
)


def use_everything(data: bytes) -> bool:
    """Read all there is in an executable; whether it could be opened. Lets any exception through but undergo's."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            executable = GoExecutable.open(file.name, "program")
        except UndergoError as error:
            assert error.message and "\n" not in error.message
            return False
        with executable:
            for part in ("layout", "inlined", "dwarf_version", "build_mode", "build_id", "moduledata"):
                tolerate(lambda part=part: getattr(executable, part))  # type: ignore[misc]
            tolerate(lambda: executable.inlined.counts)
            functions = executable.functions
            for row in range(0, len(functions), max(1, len(functions) // 40)):
                tolerate(lambda row=row: use_function(executable, row))  # type: ignore[misc]
            tolerate(lambda: functions.find(executable.text_start))
            tolerate(lambda: functions.named("main.main"))
    return True


def use_function(executable: GoExecutable, row: int) -> None:
    function = executable.functions[row]
    executable.functions.pcsp(function)
    executable.functions.pcln(function)
    executable.functions.pcdata(function, 2)
    executable.functions.deferreturn(function)
    executable.file_offset(function.entry)
    executable.code(function)


def tolerate(action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except UndergoError as error:
        assert error.message and "\n" not in error.message


@cache
def interesting(data: bytes) -> tuple[int, ...]:
    """Offsets of the structures everything else depends on."""
    places = [0, 16, 24, 32, 40, 54, 56, 58, 60, *range(64, 64 + 56 * 4, 8)]
    (shoff,) = struct.unpack_from("<Q", data, 40)
    places += range(shoff, min(shoff + 64 * 40, len(data)), 8) if shoff else ()
    for needle in (b"\xff Go buildinf:", *(struct.pack("<I", 0xFFFFFFF0 + magic) for magic in (0, 1, 10))):
        at = data.find(needle)
        while at >= 0:
            places += range(at, at + 96, 4)
            at = data.find(needle, at + 1)
    return tuple(place for place in places if place + 8 <= len(data))


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """Some numbers replaced, most of them where it hurts; perhaps cut short."""
    out = bytearray(data)
    places = st.one_of(st.sampled_from(interesting(data)), st.integers(0, len(data) - 8))
    for place in draw(st.lists(places, max_size=4)):
        width = draw(st.sampled_from([1, 2, 4, 8]))
        out[place : place + width] = draw(NUMBERS).to_bytes(8, "little")[:width]
    return bytes(out[: draw(st.integers(0, len(out)))]) if draw(st.integers(0, 5)) == 0 else bytes(out)


def test_whole_images_are_read() -> None:
    """The undamaged images can be opened: what is fuzzed is not refused at its first byte."""
    assert all(use_everything(data) for data in IMAGES)


@fuzz
@given(st.sampled_from(IMAGES).flatmap(damage))
def test_damaged_images(data: bytes) -> None:
    """Hand-made executables of every form, damaged."""
    use_everything(data)


@fuzz
@given(st.binary(max_size=200))
def test_noise(data: bytes) -> None:
    """Bytes that merely begin like an ELF file."""
    assert not use_everything(b"\x7fELF\x02\x01" + data)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A real program, with debug information and stripped."""
    if not toolchains.commands():
        pytest.skip("no Go toolchain: set UNDERGO_GO")
    go = toolchains.commands()[-1]
    modes = ("plain", "stripped", "pie")
    return [toolchains.build(go, tmp_path_factory.mktemp(mode), mode).read_bytes() for mode in modes]


@fuzz
@given(st.data())
def test_damaged_programs(programs: list[bytes], data: st.DataObject) -> None:
    """A real program, damaged in its headers and tables."""
    use_everything(data.draw(damage(data.draw(st.sampled_from(programs)))))


@fuzz
@given(st.data())
def test_damaged_debug_information(programs: list[bytes], data: st.DataObject) -> None:
    """The debug sections, damaged anywhere."""
    program = programs[0]
    (shoff,) = struct.unpack_from("<Q", program, 40)
    shnum, shstrndx = struct.unpack_from("<HH", program, 60)
    headers = [struct.unpack_from("<IIQQQQ", program, shoff + 64 * row) for row in range(shnum)]
    names = headers[shstrndx][4]
    debug = [h for h in headers if program[names + h[0] :].startswith((b".debug_info\0", b".debug_abbrev\0"))]
    assert len(debug) == 2
    out = bytearray(program)
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from(debug))
        at = section[4] + data.draw(st.one_of(st.integers(0, 64), st.integers(0, section[5] - 1)))
        out[at] = data.draw(st.integers(0, 255))
    use_everything(bytes(out))
