"""Where an export goes: a file that appears whole or not at all, or a pipe."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from undergo.errors import PermissionDeniedError, RecordingError, UndergoError, UsageError
from undergo.recording.scratch import unfinished

STDOUT = "-"


@contextmanager
def placed(path: str, force: bool) -> Iterator[str]:
    """The path to write to, in place of `path`: beside it, and renamed to it if nothing goes wrong.

    Raises UndergoError for whatever the system has against it.
    """
    if path == STDOUT:
        with _failures("stdout"), _piped() as name:
            yield name
        return
    try:
        kind = os.stat(path).st_mode
    except FileNotFoundError:
        kind = None
    except OSError as error:
        raise _failure(path, error) from None
    if kind is not None and stat.S_ISDIR(kind):
        raise UsageError(f"{path} is a directory", "-o names the file to write")
    if kind is not None and not stat.S_ISREG(kind):  # a pipe or a device is written as it is
        with _failures(path):
            yield path
        return
    if kind is not None and not force:
        raise UsageError(f"{path} exists", "--force overwrites it")
    target = os.path.realpath(path)
    beside = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}.tmp")
    try:
        with unfinished(beside), _failures(path):
            open(beside, "xb").close()
            yield beside
            os.replace(beside, target)
    finally:
        with suppress(OSError):
            os.unlink(beside)


@contextmanager
def written(path: str, force: bool) -> Iterator[BinaryIO]:
    """The same, opened."""
    if path == STDOUT:
        with _failures("stdout"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    with placed(path, force) as name, open(name, "wb", buffering=1 << 20) as file:
        yield file


@contextmanager
def _piped() -> Iterator[str]:
    """A path that leads to stdout. /dev/stdout would open that anew: a file would lose what it has."""
    source, end = os.pipe()
    failed: list[OSError] = []

    def pass_on() -> None:
        with open(source, "rb", buffering=0) as given:
            try:
                shutil.copyfileobj(given, sys.stdout.buffer, 1 << 16)
                sys.stdout.buffer.flush()
            except OSError as error:
                failed.append(error)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield f"/dev/fd/{end}"
    finally:
        os.close(end)
        thread.join()
        if failed:  # which is why whoever writes there failed too
            raise failed[0]


@contextmanager
def _failures(path: str) -> Iterator[None]:
    import duckdb

    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _failure(path, error) from None
    except duckdb.IOException as error:
        # duckdb writes tables by itself, and reads them: its words have the path that it is about
        text = str(error).splitlines()[0]
        if "Broken pipe" in text:
            raise BrokenPipeError from None
        if os.path.basename(path) in text or "No space left" in text:
            raise UndergoError(f"{path} cannot be written: {text}") from None
        raise


@contextmanager
def readable() -> Iterator[None]:
    """For whatever reads a recording: what is wrong with its files is one line. Raises RecordingError."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise RecordingError(f"the recording cannot be read: {str(error).splitlines()[0]}") from None


def _failure(path: str, error: OSError) -> UndergoError:
    message = f"{path} cannot be written: {error.strerror or error}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDeniedError(message)
    if error.errno == errno.ENOENT:
        return UsageError(message, f"make {os.path.dirname(path) or '.'} first")
    return UndergoError(message)
