"""One line on the terminal that says how far something is."""

from __future__ import annotations

import os
import shutil
import sys
import time

from undergo.kernel.session import Session
from undergo.views.recording import Recorded, progress
from undergo.views.style import Palette

_EVERY = 500_000_000  # ns
_SHARE = 100  # looking for losses may take one part in so many of the time


class Progress:
    """Says on stderr, if that is a terminal, what has been recorded so far."""

    def __init__(self, style: Palette) -> None:
        self._style = style
        self._wanted = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._began = self._shown = time.monotonic_ns()
        self._before = 0
        self._lost = 0
        self._look = 0  # when to look for losses again

    def show(self, recorded: Recorded, size: int, running: Session, writing: str) -> None:
        """Once in a while; `size` in bytes, `writing` what is being written meanwhile."""
        now = time.monotonic_ns()
        if not self._wanted or now - self._shown < _EVERY:
            return
        if now >= self._look:
            rows = [*(values for _, _, values in running.tallies()), running.overflow()]
            self._lost = sum(int(values["dropped"].sum()) for values in rows)
            after = time.monotonic_ns()
            self._look = after + _SHARE * (after - now)
        rate = (recorded.events - self._before) * 1e9 / (now - self._shown)
        self._shown, self._before = now, recorded.events
        text = progress(now - self._began, recorded, rate, self._lost, size, self._style, writing=writing)
        width = shutil.get_terminal_size().columns
        if len(text) < width or self._style.reset:  # a line that wraps would not be rewritten
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leaves an empty line."""
        if self._wanted:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
