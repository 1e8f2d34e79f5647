"""Noticing that a process ends, without polling /proc and without mistaking a reused pid for it."""

from __future__ import annotations

import os
import select
from types import TracebackType
from typing import Self

from undergo.errors import ProcessError
from undergo.target.process import Process, find_process


class ProcessEnd:
    """The end of a process that is not our child, as a file descriptor that becomes readable then.

    Put it (or its `fileno()`) into a poll set. It costs one pidfd (Linux 5.3).
    """

    def __init__(self, process: Process) -> None:
        """Raises ProcessError if that very process is gone, even if its pid is in use again."""
        try:
            self._fd = os.pidfd_open(process.pid)
        except OSError:
            raise ProcessError(f"process {process.pid} ended just now") from None
        try:
            # The pidfd stands for whoever has the pid now; the start time says whether that is still him.
            if find_process(process.pid).start_time != process.start_time:
                raise ProcessError(f"process {process.pid} ended, and its id is in use again")
        except BaseException:
            os.close(self._fd)
            raise
        self.process = process

    def fileno(self) -> int:
        """The pidfd: readable once the process has ended."""
        return self._fd

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; whether it has come."""
        return ended(self._fd, timeout)

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ended(pidfd: int, timeout: float | None) -> bool:
    """Whether the process of `pidfd` ends within `timeout` seconds (None: however long it takes)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))
