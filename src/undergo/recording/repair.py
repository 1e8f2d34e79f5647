"""Bringing a recording to its end whose recorder did not live to do that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from undergo.errors import RecordingError
from undergo.recording.failures import in_words
from undergo.recording.files import (
    CAPTURES,
    SEGMENTS,
    UNFINISHED,
    cut_torn_line,
    raw_numbers,
    raw_path,
    remove_raw,
    segment_numbers,
)
from undergo.recording.lock import Lock, is_held
from undergo.recording.meta import Meta, read_meta


def repaired(directory: str, meta: Meta, say: Callable[[str], None]) -> Meta:
    """The meta of a recording that is closed, for it is closed first if nobody is at it.

    One that is being recorded, or that this user cannot write to, is left as it is: its segments can be read. In one
    line `say` is told either way. Raises RecordingError if what is left is damaged.
    """
    import duckdb

    if meta.closed:
        return meta
    if is_held(directory):
        say(f"{directory} is being recorded: what is read ends with its last whole segment")
        return meta
    try:
        lock = Lock(directory)
    except BlockingIOError:
        return repaired(directory, read_meta(directory), say)
    except OSError as error:
        _as_it_is(directory, in_words(error), say)
        return meta
    closed = False
    try:
        meta = read_meta(directory)  # somebody else may have closed it
        if not meta.closed:
            meta = _closed(directory, meta)
            say(f"{directory} was not closed by whoever recorded it: done, up to what was last written")
        closed = True
    except ValueError as error:
        raise RecordingError(f"{directory} is damaged: {error}") from None
    except (OSError, duckdb.IOException) as error:
        _as_it_is(directory, in_words(error), say)
    except duckdb.Error as error:
        raise RecordingError(f"{directory} is damaged: {in_words(error)}") from None
    finally:
        lock.give_back(done=closed)
    return meta


def _as_it_is(directory: str, why: str, say: Callable[[str], None]) -> None:
    left = sum(os.path.getsize(path) for path in _raw_files(directory))
    say(
        f"{directory} was not closed, and cannot be now ({why}):"
        + (f" {left:,} bytes of its last records are not read" if left else " it is read as it is")
    )


def _raw_files(directory: str) -> list[str]:
    paths = [raw_path(directory, number) for number in raw_numbers(directory)]
    return [path for path in paths if os.path.exists(path)]


def _closed(directory: str, meta: Meta) -> Meta:
    from undergo.recording.segment import Converter

    for entry in os.scandir(os.path.join(directory, SEGMENTS)):
        if entry.name.endswith(UNFINISHED):
            shutil.rmtree(entry.path)
    made = set(segment_numbers(directory))
    converter = Converter(directory, meta)
    try:
        converter.restore()
        for number in raw_numbers(directory):
            if number in made:  # its raw files were about to be removed
                remove_raw(directory, number)
                continue
            captures = raw_path(directory, number) + CAPTURES
            if os.path.exists(captures):
                cut_torn_line(captures)
            converter.raw(number)
            made.add(number)
        converter.left_open(max(made, default=-1) + 1)
    finally:
        converter.close()
    meta = meta.ended(converter.last_ns, None)
    meta.write(directory)
    return meta
