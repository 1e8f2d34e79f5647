"""ELF headers, bytes by address, and what is refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from goimage import BASE, DATA, TEXT, Image

from undergo.errors import ArchitectureError, NotElfError, ProcessError, TargetError, TruncatedError
from undergo.goexe.elf import ElfImage

Write = Callable[[bytes], Path]


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The bytes with some replaced."""
    return data[:at] + new + data[at + len(new) :]


def test_addresses_map_to_file_offsets(write: Write) -> None:
    """An address in a segment is as far from the segment's start in the file as in memory."""
    with ElfImage.open(write(Image().build())) as elf:
        assert elf.file_offset(BASE + TEXT + 5) == TEXT + 5
        assert elf.read(BASE + TEXT, 2) == b"\x90\x90"


def test_an_address_outside_of_the_file_is_refused(write: Write) -> None:
    """Reading past a segment's bytes raises, even if the file has more."""
    with ElfImage.open(write(Image().build())) as elf:
        with pytest.raises(TruncatedError, match="is in no loaded part"):
            elf.file_offset(BASE + TEXT - 1)
        with pytest.raises(TruncatedError, match="not all in the file"):
            elf.read(BASE + TEXT, DATA)


@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_both_machines_are_read(write: Write, machine: str) -> None:
    """Reading works for another machine's executable; only tracing is refused."""
    with ElfImage.open(write(Image(machine=machine).build()), "program") as elf:
        assert elf.machine == machine
        if machine == {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine):
            elf.require_this_machine()
        else:
            with pytest.raises(ArchitectureError, match=f"built for {machine}"):
                elf.require_this_machine()


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", NotElfError, "not an ELF file"),
        (b"#!/bin/sh\necho hello\n", NotElfError, "not an ELF file"),
        (b"\x7fELF\x02\x01", TruncatedError, "ends inside the ELF header"),
        (b"\x7fELF\x01\x01" + bytes(80), ArchitectureError, "not a 64-bit"),
        (b"\x7fELF\x02\x02" + bytes(80), ArchitectureError, "not a 64-bit little-endian"),
        (patched(Image().build(), 18, b"\x03\0"), ArchitectureError, "built for 386"),
        (patched(Image().build(), 18, b"\xff\x7f"), ArchitectureError, "machine 32767"),
        (patched(Image().build(), 16, b"\x01\0"), NotElfError, "not an executable"),
        (patched(Image().build(), 54, b"\x07\0"), TruncatedError, "program headers of 7 bytes"),
        (patched(Image().build(), 58, b"\x07\0"), TruncatedError, "section headers of 7 bytes"),
        (patched(Image().build(), 56, b"\0\0"), TruncatedError, "no loadable segments"),
        (patched(Image().build(), 40, b"\xff" * 7), TruncatedError, "the file ends before"),
        (Image().build()[:0x15000], TruncatedError, "inside its code or data"),
    ],
)
def test_bad_files_are_refused(write: Write, data: bytes, error: type[TargetError], words: str) -> None:
    """Each kind of bad file has its own error, in one line that names the file."""
    with pytest.raises(error, match=words) as caught:
        ElfImage.open(write(data), "program")
    assert caught.value.message.startswith("program: ")
    assert "\n" not in caught.value.message


def test_a_section_count_that_cannot_be_is_refused(write: Write) -> None:
    """A count of 0 with a huge size in section 0 does not make undergo read for ever."""
    data = Image().build()
    (shoff,) = struct.unpack_from("<Q", data, 40)
    lying = patched(patched(data, 60, b"\0\0"), shoff + 32, struct.pack("<Q", 1 << 60))
    with pytest.raises(TruncatedError, match="sections cannot be"):
        ElfImage.open(write(lying))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    """No such file, a folder and a FIFO are told at once; the FIFO does not block."""
    with pytest.raises(TargetError, match="no such file"):
        ElfImage.open(tmp_path / "missing")
    with pytest.raises(ProcessError, match="no executable any more"):
        ElfImage.open("/proc/999999999/exe", "process 999999999")
    with pytest.raises(NotElfError, match="not a regular file"):
        ElfImage.open(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotElfError, match="not a regular file"):
        ElfImage.open(tmp_path / "fifo")


def test_refused_files_are_closed_exactly_once(write: Write) -> None:
    """A refused file leaks no descriptor, and nobody else's is closed in its place."""
    path = write(b"not ELF at all, but long enough")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(NotElfError):
        ElfImage.open(path)
    assert before == set(os.listdir("/proc/self/fd"))


def test_the_open_file_is_the_one_read_again(write: Write) -> None:
    """Replacing the path's file does not change what the image reads."""
    path = write(Image().build())
    with ElfImage.open(path) as elf:
        path.unlink()
        path.write_bytes(b"another file")
        assert elf.read(BASE + TEXT, 1) == b"\x90"


def test_relocations_fill_pointers_in(write: Write) -> None:
    """In a PIE the file holds 0 where a pointer will be; `pointer` and `read_relocated` give the pointer."""
    image = Image(pie=True)
    with ElfImage.open(write(image.build())) as elf:
        place = DATA + 1024 + 176  # moduledata.text
        assert elf.read(place, 8) == bytes(8)
        assert elf.pointer(place) == image.text
        assert elf.read_relocated(place - 4, 16)[4:12] == struct.pack("<Q", image.text)
        assert elf.read_relocated(place + 1, 7) == bytes(7)  # a pointer that is cut is left alone
