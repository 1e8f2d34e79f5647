"""Raw files: records as the kernel side made them, and how meta.json says what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

STRUCTS: Final = ("call_record", "waits_record", "state_record")  # that the records are, by kind


def layout_of(record: np.dtype[np.void]) -> dict[str, Any]:
    """A struct for meta.json: its size and fields, each [type, offset in bytes, number if it is an array].

    What is inside another struct is named with a dot.
    """
    return {"size": record.itemsize, "fields": _fields(record, "", 0)}


def _fields(record: np.dtype[np.void], prefix: str, at: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, (kind, offset, *_) in (record.fields or {}).items():
        if kind.names is not None:
            found |= _fields(kind, f"{prefix}{name}.", at + offset)
        else:
            found[prefix + name] = [kind.base.str, at + offset, *kind.shape]
    return found


def dtype_of(layout: Mapping[str, Any]) -> np.dtype[np.void]:
    """The inverse of `layout_of`, but that fields with a dot in their name stay as they are."""
    fields = layout["fields"]
    return np.dtype(
        {
            "names": list(fields),
            "formats": [(kind, tuple(shape)) for kind, _, *shape in fields.values()],
            "offsets": [offset for _, offset, *_ in fields.values()],
            "itemsize": layout["size"],
        }
    )


class RawFile:
    """A raw file that is being written; whole units, whatever goes wrong."""

    def __init__(self, path: str) -> None:
        """Raises OSError, also if it exists."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Appends all of it, or nothing. Raises OSError."""
        left = memoryview(data).cast("B")
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += memoryview(data).nbytes

    def close(self) -> None:
        """No more will be written."""
        os.close(self._file)
