"""What is where in the directory of a recording.

`raw-NNNNNN` has whole records one after the other, and becomes the segment of the same number; what was captured
meanwhile is in `raw-NNNNNN.captures`, a JSON object a line with the columns of the table `captures`.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

from undergo.recording.meta import NAME

SEGMENTS: Final = "segments"
LOCK: Final = "lock"  # held with flock by whoever records or repairs
CAPTURES: Final = ".captures"
UNFINISHED: Final = ".tmp"
_PREFIX: Final = "raw-"


def segment_path(directory: str, number: int) -> str:
    """The directory of a segment."""
    return os.path.join(directory, SEGMENTS, f"{number:06d}")


def segment_numbers(directory: str) -> list[int]:
    """The segments that are whole, in order."""
    try:
        found = os.listdir(os.path.join(directory, SEGMENTS))
    except OSError:
        return []
    return sorted(int(name) for name in found if name.isdecimal())


def segments(directory: str) -> list[str]:
    """The directories of a recording's segments, in order."""
    return [segment_path(directory, number) for number in segment_numbers(directory)]


def raw_path(directory: str, number: int) -> str:
    """The raw file of a segment."""
    return os.path.join(directory, f"{_PREFIX}{number:06d}")


def raw_numbers(directory: str) -> list[int]:
    """The segments of which there are raw files, in order. Raises OSError."""
    names = (name.removesuffix(CAPTURES) for name in os.listdir(directory) if name.startswith(_PREFIX))
    return sorted({int(name[len(_PREFIX) :]) for name in names if name[len(_PREFIX) :].isdecimal()})


def remove_raw(directory: str, number: int) -> None:
    """Removes what a segment was made from. Raises OSError."""
    for path in (raw_path(directory, number), raw_path(directory, number) + CAPTURES):
        if os.path.exists(path):
            os.unlink(path)


def size_of(path: str) -> int:
    """Bytes of a file, or of all files in a directory; 0 if it is not there."""
    if not os.path.isdir(path):
        return os.path.getsize(path) if os.path.exists(path) else 0
    return sum(size_of(entry.path) for entry in os.scandir(path))


def remove_recording(directory: str) -> None:
    """Removes a recording, and nothing else that may be there. Raises OSError."""
    # first that which makes it a recording again only to those who look for its rest
    for number in raw_numbers(directory):
        remove_raw(directory, number)
    where = os.path.join(directory, SEGMENTS)
    if os.path.isdir(where):
        for entry in os.scandir(where):
            if entry.name.removesuffix(UNFINISHED).isdecimal():
                shutil.rmtree(entry.path)
    for name in (LOCK, NAME):
        if os.path.exists(os.path.join(directory, name)):
            os.unlink(os.path.join(directory, name))


def cut_torn_line(path: str) -> None:
    """Cuts a file of lines after its last whole one. Raises OSError."""
    with open(path, "r+b") as file:
        at = file.seek(0, os.SEEK_END)
        while at:
            start = max(0, at - (1 << 16))
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                file.truncate(start + newline + 1)
                return
            at = start
        file.truncate(0)
