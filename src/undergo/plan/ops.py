"""What the kernel is told to read: a list of ops per place, each of which leaves one piece (bpf/fetch.bpf.h)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

PIECES: Final = 128  # CAPTURE_PIECES of bpf/undergo.h
MOST: Final = 1024  # CAPTURE_READ
TEXT: Final = 64  # FILTER_TEXT: bytes of a text that are compared
#: The piece that is always there: the words of abi.INTEGER_REGISTERS, then g and the frame pointer.
REGISTERS: Final = 0
G_AT: Final = 72
FRAME_POINTER_AT: Final = 80
MOST_FRAMES: Final = 64  # of a stack


class OpKind(IntEnum):
    """enum op_kind of bpf/undergo.h."""

    STACK = 0
    POINTED = 1
    COUNTED = 2
    DYNAMIC = 3
    BUCKETS = 4
    GROUPS = 5
    FIND = 6
    FRAMES = 7


@dataclass(frozen=True, slots=True)
class Op:
    """struct op of bpf/undergo.h."""

    kind: OpKind
    origin: int = 0  # number of the piece with the pointer
    at: int = 0  # bytes from that piece's start
    size: int = 0
    stride: int = 0
    offset: int = 0
    wanted: int = 0  # entries of a map, pairs, or frames
    group: int = 0  # bytes
    text: bytes | None = None  # that FIND looks for; the session numbers them


def whole_words(size: int) -> int:
    """`size` bytes as they lie in a piece with entries of a map."""
    return (size + 7) // 8 * 8
