"""The shape of a function's arguments as tracebacks know it: without types, but also in stripped executables.

FUNCDATA 5 points to bytes that tell tracebacks where words lie (internal/abi/funcdata.go, cmd/compile's
ssagen.EmitArgInfo; Go 1.17 to 1.27): offset and size of each, and marks around what belongs together.
"""

from __future__ import annotations

from typing import Final

from undergo.errors import TruncatedError
from undergo.goexe.executable import GoExecutable

_FUNCDATA_ARG_INFO: Final = 5
_NONE: Final = 0xFFFFFFFFFFFFFFFF
_END, _START, _STOP, _MORE, _FAR = 0xFF, 0xFE, 0xFD, 0xFC, 0xFB
_LONGEST: Final = 64  # bytes that are looked at


def argument_words(executable: GoExecutable, rows: set[int]) -> dict[int, tuple[int, ...]]:
    """The number of words of each argument, receiver first, by row; rows of which that is not known are left out.

    A string or an interface has two words; whatever is smaller than a word counts as one.
    """
    functions = executable.functions
    _, places = functions.funcdata(_FUNCDATA_ARG_INFO)
    found: dict[int, tuple[int, ...]] = {}
    for row in rows:
        place = int(places[row])
        if place == _NONE:
            continue
        address = place if functions.absolute_funcdata else executable.moduledata.gofunc + place
        try:
            raw = executable.elf.read(address, min(_LONGEST, executable.elf.available(address)))
        except TruncatedError:
            continue
        words = _words(raw)
        if words is not None:
            found[row] = words
    return found


def _words(raw: bytes) -> tuple[int, ...] | None:
    """None where the bytes do not say it all."""
    found: list[int] = []
    inside = at = 0
    while at < len(raw):
        byte = raw[at]
        if byte == _END:
            return tuple(found) if not inside else None
        if byte in (_MORE, _FAR):
            return None
        if byte == _START:
            if not inside:
                found.append(0)
            inside += 1
        elif byte == _STOP:
            inside -= 1
        elif inside:
            found[-1] += 1
            at += 1
        else:
            found.append(1)
            at += 1
        at += 1
    return None
