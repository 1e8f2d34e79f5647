"""Type descriptors as the runtime has them: the names of what interfaces hold, stripped or not.

internal/abi/type.go, the same in Go 1.17 to 1.27: a descriptor has its flags at 20, its kind at 23, and at 40 the
offset of its name from moduledata.types. A name is a byte of flags, a varint with the length, and the text; it begins
with a star that does not count where flag 2 of the descriptor says so.
"""

from __future__ import annotations

from typing import Final

from undergo.errors import TruncatedError
from undergo.goexe.executable import GoExecutable

_FLAGS, _KIND, _NAME, _SIZE = 20, 23, 40, 48
_EXTRA_STAR: Final = 1 << 1
_LONGEST: Final = 4096  # bytes of a name


class RuntimeTypes:
    """The descriptors of one executable, by their addresses as linked."""

    def __init__(self, executable: GoExecutable) -> None:
        self._elf = executable.elf
        try:
            self._types = executable.moduledata.types
        except TruncatedError:
            self._types = 0
        self._known: dict[int, str] = {}

    def name(self, address: int) -> str:
        """The type's name, "*errors.errorString"; "" where there is no descriptor, as of types made at run time."""
        known = self._known.get(address)
        if known is None:
            try:
                known = self._read(address)
            except (TruncatedError, UnicodeDecodeError):
                known = ""
            self._known[address] = known
        return known

    def _read(self, address: int) -> str:
        if not self._types or address < self._types:
            return ""
        raw = self._elf.read(address, _SIZE)
        at = self._types + int.from_bytes(raw[_NAME : _NAME + 4], "little", signed=True)
        head = self._elf.read(at, min(_LONGEST, self._elf.available(at)))
        length = shift = 0
        for start, byte in enumerate(head[1:11], 2):
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                text = head[start : start + length].decode()
                return text[1:] if raw[_FLAGS] & _EXTRA_STAR else text
        return ""
