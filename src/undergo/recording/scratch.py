"""Where DuckDB puts what does not fit into memory; its own choice would be the user's working directory."""

from __future__ import annotations

import shutil
import tempfile
import weakref


class Scratch:
    """A directory that nobody else can enter; gone when it is given back, forgotten, or the process ends."""

    def __init__(self) -> None:
        try:
            self.path = tempfile.mkdtemp(prefix="undergo-")
        except OSError:
            self.path = ""  # to DuckDB: none, all has to fit
            return
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def give_back(self) -> None:
        """Removes it."""
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)
