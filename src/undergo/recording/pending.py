"""Captures of calls that have not ended: what is captured at their entry comes long before anything else of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

_CALL: Final = struct.Struct("<Q")  # at the beginning of struct capture_record (bpf/undergo.h)
OBJECT: Final = 48  # bytes that Python takes for some bytes, beside these


class Pending:
    """Keeps them until their call ends; beyond so many bytes, the oldest are given up."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[int, tuple[bytes, ...]] = {}  # by id of the call
        self.size = 0  # bytes

    def all(self) -> list[bytes]:
        """The oldest call's first."""
        return [raw for each in self._of.values() for raw in each]

    def add(self, captures: Iterable[bytes]) -> None:
        """These came last."""
        for raw in captures:
            (call,) = _CALL.unpack_from(raw)
            self._of[call] = (*self._of.get(call, ()), raw)
            self.size += len(raw) + OBJECT

    def take(self, ended: Iterable[int]) -> list[bytes]:
        """Those of calls that have ended."""
        found: list[bytes] = []
        if self._of:
            for call in ended:
                found += self._pop(call)
        while self.size > self._most:
            self._pop(next(iter(self._of)))
        return found

    def _pop(self, call: int) -> Sequence[bytes]:
        each = self._of.pop(call, ())
        self.size -= sum(len(raw) + OBJECT for raw in each)
        return each
