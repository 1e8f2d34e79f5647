"""Writing a recording while it happens: every batch goes to a raw file at once, whole raw files become segments.

The segments are made in a thread, so that whoever reads the ring never waits for them.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undergo.errors import RecordingError
from undergo.recording.failures import in_words
from undergo.recording.files import (
    CAPTURES,
    SEGMENTS,
    raw_path,
    remove_recording,
    segment_path,
    size_of,
)
from undergo.recording.lock import Lock, is_held
from undergo.recording.meta import Meta, read_meta
from undergo.recording.raw import STRUCTS, RawFile
from undergo.recording.segment import Converter, SourceOf

RECORDS: Final = 1 << 20  # of a segment
SECONDS: Final = 30  # a segment holds, at most
#: Of what a recording may take, this share is a raw file: one is written while the one before becomes a segment.
_SHARE: Final = 8
_OF_RAW: Final = 3  # a segment takes less than this part of its raw file
_LEAST_FREE: Final = 1 << 16  # bytes
SMALLEST: Final = 64_000_000  # bytes that a recording may be kept to: a batch can have a quarter of that


def check_free(directory: str, *, force: bool) -> None:
    """Whether a recording may be made there. Raises RecordingError."""
    if not os.path.lexists(directory):
        parent = os.path.dirname(os.path.abspath(directory))
        if not os.path.isdir(parent):
            raise RecordingError(
                f"{directory}: there is no directory {parent}", "make it, or name another with -o"
            )
        if not os.access(parent, os.W_OK | os.X_OK):
            raise RecordingError(
                f"{directory}: nothing can be written to {parent}", "name another place with -o"
            )
        return
    if os.path.isdir(directory) and not os.listdir(directory):
        return
    try:
        read_meta(directory)
    except RecordingError as error:
        if "is not a recording" in error.message:
            raise RecordingError(
                f"{directory} is there, and is not a recording", "name another place with -o"
            ) from None
    if is_held(directory):
        raise RecordingError(f"{directory} is being recorded by somebody else", "name another place with -o")
    if not force:
        raise RecordingError(f"{directory} is there already", "--force replaces it, -o names another place")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise RecordingError(f"{directory}: this user may not replace it", "name another place with -o")


class Writer:
    """A recording that is being made.

    Should it be impossible to write on, `append` raises RecordingError; `close` it then as well, which may succeed:
    what is there takes less room once it is a segment.
    """

    def __init__(
        self,
        directory: str,
        meta: Meta,
        source: SourceOf | None = None,
        *,
        force: bool = False,
        rotate: int | None = None,
        records: int = RECORDS,
        seconds: float = SECONDS,
    ) -> None:
        """Makes the directory; `rotate` is how many bytes it may take, at least `SMALLEST`."""
        check_free(directory, force=force)
        self.directory = directory
        self._meta = meta
        self._rotate = rotate
        self._record_bytes = int(meta.layouts[STRUCTS[0]]["size"])
        self._raw_bytes = records * self._record_bytes
        if rotate is not None:
            self._raw_bytes = min(self._raw_bytes, rotate // _SHARE)
        self._raw_ns = int(seconds * 1e9)
        self._number = 0
        self._raw: RawFile | None = None
        self._captures: RawFile | None = None
        self._begun = 0  # ns, CLOCK_MONOTONIC
        self._waiting: dict[int, int] = {}  # bytes of raw files that are no segments yet
        self._sizes: deque[tuple[int, int]] = deque()  # segments and their bytes
        self._failure: Exception | None = None
        self._changed = threading.Condition()  # of the two above, and what they say
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        try:
            if os.path.exists(os.path.join(directory, SEGMENTS)):
                remove_recording(directory)
            os.makedirs(os.path.join(directory, SEGMENTS), exist_ok=True)
            self._lock = Lock(directory)
            meta.write(directory)
        except OSError as error:
            raise RecordingError(f"{directory}: {error.strerror}", "name another place with -o") from None
        self._converter = Converter(directory, meta, source)
        self._thread = threading.Thread(target=self._convert, name="segments", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """Bytes that it takes on disk now."""
        now = sum(file.size for file in (self._raw, self._captures) if file)
        return now + sum([*self._waiting.values()]) + sum([size for _, size in [*self._sizes]])

    @property
    def started_ns(self) -> int:
        """When it begins, since the epoch."""
        return self._meta.started_ns

    @property
    def dropped_segments(self) -> int:
        """How many of the oldest were given up to stay within `rotate`."""
        return self._meta.dropped_segments

    def append(self, records: npt.NDArray[np.void], captures: bytes = b"") -> None:
        """Writes a batch, and lines of captures; they are safe from then on, whatever becomes of undergo."""
        self._check()
        wanted = records.nbytes + len(captures)
        self._make_room(wanted)
        try:
            self._leave_room(wanted)
            if self._raw is None and (len(records) or captures):
                self._raw = RawFile(raw_path(self.directory, self._number))
                self._begun = time.monotonic_ns()
            if self._raw is not None and len(records):
                self._raw.write(np.ascontiguousarray(records).view(np.uint8).data)
            if captures:
                if self._captures is None:
                    self._captures = RawFile(raw_path(self.directory, self._number) + CAPTURES)
                self._captures.write(captures)
        except OSError as error:
            raise self._told(error) from None
        if self._raw is not None:
            full = self._raw.size + (self._captures.size if self._captures else 0) >= self._raw_bytes
            if full or time.monotonic_ns() - self._begun >= self._raw_ns:
                self._turn()

    def _leave_room(self, wanted: int) -> None:
        """Ends while there still is room to make segments of what was written."""
        if wanted:
            disk = os.statvfs(self.directory)
            raw = sum([*self._waiting.values()]) + (self._raw.size if self._raw else 0)
            if disk.f_bavail * disk.f_frsize < wanted + (wanted + raw) // _OF_RAW + _LEAST_FREE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _turn(self) -> None:
        """The raw file is whole; the next batch begins another."""
        if self._raw is None:
            return
        size = 0
        for file in (self._raw, self._captures):
            if file is not None:
                size += file.size
                file.close()
        with self._changed:
            self._waiting[self._number] = size
        self._queue.put(self._number)
        self._number += 1
        self._raw = self._captures = None

    def close(
        self, ended_ns: int, ledger: Mapping[str, Any], issues: Sequence[Mapping[str, str]] | None = None
    ) -> None:
        """Brings the recording to its end. `issues` replace those that were known when it began.

        Raises RecordingError if that cannot be done: all that was written is there, and the next command to read it
        tries again.
        """
        self._turn()
        self._queue.put(None)
        self._thread.join()
        try:
            self._check()
            told = self._meta.issues if issues is None else tuple(issues)
            replace(self._meta.ended(ended_ns, ledger), issues=told).write(self.directory)
        except OSError as error:
            self._failure = error
            self._check()
        finally:
            self._lock.give_back(done=self._failure is None)

    def _check(self) -> None:
        """Raises what the thread failed of."""
        if self._failure is not None:
            raise self._told(self._failure)

    def _told(self, why: Exception) -> Exception:
        import duckdb

        if not isinstance(why, OSError | duckdb.Error):
            return why
        return RecordingError(
            f"{self.directory} cannot be written any further: {in_words(why)}",
            "what was written is kept; any command that reads it brings it to its end, once there is room",
        )

    def _convert(self) -> None:
        """The thread: segments, one after the other."""
        while (number := self._queue.get()) is not None:
            if self._failure is not None:
                continue  # its raw file is kept
            try:
                self._converter.raw(number)
                with self._changed:
                    self._sizes.append((number, size_of(segment_path(self.directory, number))))
                    del self._waiting[number]
            except Exception as error:  # whoever records is told, and stops
                self._failure = error
            with self._changed:
                self._changed.notify()
        self._converter.close()

    def _make_room(self, wanted: int) -> None:
        """Gives the oldest segments up until there is room for this many bytes, and for a segment in the making.

        Where the last segment is all there is, the next one is waited for: what comes meanwhile is in the ring, and
        in the ledger if that gets full.
        """
        if self._rotate is None:
            return
        limit = self._rotate - self._raw_bytes // 2 - wanted
        with self._changed:
            while self.size > limit and self._failure is None:
                if len(self._sizes) > 1:
                    number, _ = self._sizes.popleft()
                    self._meta = replace(self._meta, dropped_segments=self._meta.dropped_segments + 1)
                    try:
                        self._meta.write(self.directory)
                        _remove(segment_path(self.directory, number))
                    except OSError as error:
                        self._failure = error
                elif self._waiting:
                    self._changed.wait()
                else:
                    return


def _remove(segment: str) -> None:
    for entry in os.scandir(segment):
        os.unlink(entry.path)
    os.rmdir(segment)
