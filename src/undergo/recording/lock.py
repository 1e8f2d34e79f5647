"""The lock of a recording: who holds it records, or repairs."""

from __future__ import annotations

import fcntl
import os

from undergo.recording.files import LOCK


class Lock:
    """Held until it is given back, or the process that has it ends."""

    def __init__(self, directory: str) -> None:
        """Raises BlockingIOError if somebody holds it, OSError if it cannot be made."""
        self._path = os.path.join(directory, LOCK)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise

    def give_back(self, *, done: bool) -> None:
        """`done`: nobody will need it any more."""
        if done:
            os.unlink(self._path)
        os.close(self._file)


def is_held(directory: str) -> bool:
    """Whether somebody is recording, or repairing, right now."""
    try:
        file = os.open(os.path.join(directory, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
