"""Where DuckDB puts what does not fit into memory; its own choice would be the user's working directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator

#: Files and directories that must not outlive undergo.
_unfinished: set[str] = set()


def remove_unfinished() -> None:
    """Removes them, before undergo ends at once."""
    for path in list(_unfinished):
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(path)


@contextlib.contextmanager
def unfinished(path: str) -> Iterator[None]:
    """While this is open, the file at `path` must not outlive undergo; after that it is gone or finished."""
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


class Scratch:
    """A directory that nobody else can enter; gone when it is given back, forgotten, or the process ends."""

    def __init__(self) -> None:
        try:
            self.path = tempfile.mkdtemp(prefix="undergo-")
        except OSError:
            self.path = ""  # to DuckDB: none, all has to fit
            return
        _unfinished.add(self.path)
        weakref.finalize(self, _remove, self.path)

    def give_back(self) -> None:
        """Removes it."""
        if self.path:
            _remove(self.path)


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    _unfinished.discard(path)
