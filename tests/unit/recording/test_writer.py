"""Recordings are whole whatever happens while they are made."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.raw_records import CALL, Records, batch, begin, closed, far, meta, opened
from tests.recordings import START
from undergo.errors import RecordingError
from undergo.recording import repair, segment
from undergo.recording.files import raw_numbers, segment_numbers, size_of
from undergo.recording.lock import Lock
from undergo.recording.meta import read_meta
from undergo.recording.raw import RawFile, dtype_of, layout_of
from undergo.recording.reader import open_recordings
from undergo.recording.writer import Writer

LINE = {
    "call": 1, "func": 0, "place": "argument", "position": 0, "name": "n", "type": "int", "value": "3", "text": "3",
}  # fmt: skip


def calls(first: int, count: int) -> Records:
    """Calls of 10 ns, one after the other, numbered from `first`."""
    rows = np.concatenate([closed(1)] * count)
    rows["id"], rows["start"] = np.arange(first, first + count), np.arange(first, first + count) * 10
    return rows


def ids(directory: Path) -> list[int]:
    found = open_recordings([str(directory)], say=said.append).connection.execute(
        "select id from calls order by id"
    )
    return [id for (id,) in found.fetchall()]


said: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    said.clear()


def abandon(writer: Writer) -> None:
    """As if undergo had been killed: what was written stays, what was to be converted is not."""
    writer._failure = RuntimeError("killed")
    writer._queue.put(None)
    writer._thread.join()
    os.close(writer._lock._file)


def test_from_beginning_to_end(tmp_path: Path) -> None:
    """Batches become segments, and the end is written down."""
    where = tmp_path / "r"
    writer = Writer(str(where), meta(), records=100)
    for first in range(1, 1000, 50):
        writer.append(calls(first, 50), json.dumps(LINE).encode() + b"\n" if first == 1 else b"")
    assert not read_meta(str(where)).closed
    writer.close(START + 10**9, {"hits": 1000})
    assert {"meta.json", "segments"} == set(os.listdir(where))
    assert list(range(10)) == segment_numbers(str(where))
    assert list(range(1, 1001)) == ids(where)
    assert [] == said
    found = read_meta(str(where))
    assert (START + 10**9, {"hits": 1000}) == (found.ended_ns, found.ledger)
    assert writer.size == size_of(str(where / "segments"))
    captured = open_recordings([str(where)]).connection.execute("select * exclude recording from captures")
    assert [tuple(LINE.values())] == captured.fetchall()


def test_time_makes_segments_as_well(tmp_path: Path) -> None:
    """With few records, what is read while it is being recorded is not old."""
    writer = Writer(str(tmp_path / "r"), meta(), seconds=0)
    writer.append(calls(1, 1))
    writer.append(calls(2, 1))
    writer.append(np.zeros(0, CALL))
    writer.close(START, {})
    assert [0, 1] == segment_numbers(str(tmp_path / "r"))


def test_a_recording_in_the_making_can_be_read(tmp_path: Path) -> None:
    """Up to its last segment, with a word about it."""
    writer = Writer(str(tmp_path / "r"), meta(), records=50)
    writer.append(calls(1, 50))
    while not segment_numbers(str(tmp_path / "r")):
        pass
    writer.append(calls(51, 7))
    assert list(range(1, 51)) == ids(tmp_path / "r")
    assert ["is being recorded" in text for text in said] == [True]
    with pytest.raises(RecordingError, match="being recorded by somebody else"):
        Writer(str(tmp_path / "r"), meta(), force=True)
    writer.close(START, {})
    assert list(range(1, 58)) == ids(tmp_path / "r")


def test_torn_tails(tmp_path: Path) -> None:
    """After a kill whole records and whole lines are kept; the recording is closed by whoever reads it first."""
    writer = Writer(str(tmp_path / "r"), meta())
    writer.append(calls(1, 20), json.dumps(LINE).encode() + b"\n")
    abandon(writer)
    with open(tmp_path / "r" / "raw-000000", "ab") as file:
        file.write(calls(21, 1).tobytes()[:77])
    with open(tmp_path / "r" / "raw-000000.captures", "ab") as file:
        file.write(b'{"call":2,"fu')
    assert list(range(1, 21)) == ids(tmp_path / "r")
    assert 1 == len(said)
    assert "was not closed by whoever recorded it" in said[0]
    assert list(range(1, 21)) == ids(tmp_path / "r")
    assert 1 == len(said)
    found = read_meta(str(tmp_path / "r"))
    assert (START + 210, None) == (found.ended_ns, found.ledger)
    assert {"meta.json", "segments"} == set(os.listdir(tmp_path / "r"))
    captured = open_recordings([str(tmp_path / "r")]).connection.execute("select count(*) from captures")
    assert [(1,)] == captured.fetchall()


def test_calls_left_open(tmp_path: Path) -> None:
    """What was announced and did not end is a row of its own: open, with no tid, and no split."""
    writer = Writer(str(tmp_path / "r"), meta())
    writer.append(
        batch(
            opened(1, 0, 0, 100),
            opened(2, 1, 1, 200, depth=1),
            closed(3, 2, 2, 300, 50, depth=2),
            opened(7, 0, 0, 301),
            closed(8, 1, 7, 302, depth=1),
            closed(7, 0, 0, 301, 11),
        )
    )
    abandon(writer)
    found = open_recordings([str(tmp_path / "r")], say=said.append).connection.execute(
        f"select id, parent, path, tid, start_ns - {START}, wall_ns, ending, running_ns from calls order by id"
    )
    assert [
        (1, 0, 1, 0, 100, 250, "open", None),
        (2, 1, 2, 0, 200, 150, "open", None),
        (3, 2, 3, 100, 300, 50, "return", None),
        (7, 0, 1, 100, 301, 11, "return", None),
        (8, 7, 2, 100, 302, 10, "return", None),
    ] == found.fetchall()


class Killed(BaseException):
    """No one catches it, as no one can catch SIGKILL."""


#: Where the conversion of a raw file may be cut short: a function, and how often it is called before.
STEPS = [
    *(("_copy", n) for n in range(5)),
    *(("_flush", n) for n in range(7)),
    *(("remove_raw", n) for n in (0,)),
    *(("unlink", n) for n in range(2)),
]


@pytest.mark.parametrize(("step", "before"), STEPS)
def test_a_kill_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, before: int) -> None:
    """Whatever the conversion had come to, nothing is lost and nothing is there twice."""
    where = tmp_path / "r"
    writer = Writer(str(where), meta(), records=4)
    abandon(writer)
    parts = [
        batch(opened(1), far(9, {2: 5}), closed(2, 1, 1, 5), closed(3, 1, 1, 6)),
        batch(closed(9, 1, 1, 7, 20, [0, 0, 0, 9], {0: 4}), closed(4, 1, 1, 8)),
    ]
    for number, records in enumerate(parts):
        for suffix, data in (
            ("", records.tobytes()),
            (".captures", json.dumps(LINE | {"call": number}).encode() + b"\n"),
        ):
            (where / f"raw-{number:06d}{suffix}").write_bytes(data)
    left = [before]

    def killing(function: Any) -> Any:
        def instead(*given: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*given)

        return instead

    with monkeypatch.context() as patched:
        if step == "_copy":
            patched.setattr(segment.Converter, step, killing(segment.Converter._copy))
        elif step == "unlink":
            patched.setattr(os, step, killing(os.unlink))
        else:
            patched.setattr(segment, step, killing(getattr(segment, step)))
        with pytest.raises(Killed):
            open_recordings([str(where)], say=said.append)
    assert not read_meta(str(where)).closed
    opened_at_last = open_recordings([str(where)], say=said.append).connection
    assert [(1, "open", 1), (2, "return", 2), (3, "return", 2), (4, "return", 2), (9, "return", 2)] == (
        opened_at_last.execute("select id, ending, path from calls order by id").fetchall()
    )
    assert [("chan send", 5), ("sleep", 4)] == (
        opened_at_last.execute("select reason, ns from waits order by reason").fetchall()
    )
    assert [(0,), (1,)] == opened_at_last.execute("select call from captures order by call").fetchall()
    assert {"meta.json", "segments"} == set(os.listdir(where))


def test_a_kill_before_the_first_record(tmp_path: Path) -> None:
    abandon(Writer(str(tmp_path / "r"), meta()))
    assert [] == ids(tmp_path / "r")
    assert START == read_meta(str(tmp_path / "r")).ended_ns


def test_what_cannot_be_closed_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that can only be read: its segments, and how much is missing."""
    writer = Writer(str(tmp_path / "r"), meta(), records=10)
    writer.append(calls(1, 10))
    while not segment_numbers(str(tmp_path / "r")) or raw_numbers(str(tmp_path / "r")):
        pass
    writer.append(calls(11, 5))
    abandon(writer)

    def refused(directory: str) -> Lock:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(repair, "Lock", refused)
    assert list(range(1, 11)) == ids(tmp_path / "r")
    assert "cannot be now (Read-only file system): 600 bytes of its last records are not read" in said[0]


@pytest.mark.parametrize("hasty", [False, True])
def test_rotation_keeps_within_its_size(tmp_path: Path, hasty: bool) -> None:
    """The oldest segments go; what is left is the end, whole, and meta.json says how many went.

    Nor is there ever more while records come faster than segments can be made of them.
    """
    size, where, at = 1 << 19, tmp_path / "r", 1
    chance = np.random.default_rng(1)
    writer = Writer(str(where), meta(), rotate=size)
    for _ in range(100):
        rows = calls(at, 500)
        rows["wall"], rows["goid"] = chance.integers(1, 2**40, 500), chance.integers(1, 2**40, 500)
        writer.append(rows)
        at += 500
        assert size_of(str(where)) < size
        while len(raw_numbers(str(where))) > 1 and not hasty:
            pass
    writer.close(START, {})
    assert (0 if hasty else size / 2) < size_of(str(where)) < size
    found = ids(where)
    assert list(range(found[0], at)) == found
    gone = read_meta(str(where)).dropped_segments
    assert gone == segment_numbers(str(where))[0] > 0
    assert writer.dropped_segments == gone


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    where = tmp_path / "disk"
    where.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(where)]
    if subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("it takes root to make a small disk")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def fill(writer: Writer) -> int:
    """How many calls there was room for."""
    for at in range(1, 10**6, 1000):
        try:
            writer.append(calls(at, 1000))
        except RecordingError as error:
            assert "cannot be written any further: No space left on device" in error.message
            return at - 1
    raise AssertionError("there is room for everything")


def fill_up(path: Path) -> None:
    """Leaves no room at all."""
    with open(path, "wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


def test_a_full_disk(disk: Path) -> None:
    """It says so; what was written is brought to its end, for segments take less room than their records."""
    writer = Writer(str(disk / "r"), meta())
    written = fill(writer)
    writer.close(START, {})
    assert list(range(1, written + 1)) == ids(disk / "r")
    assert [] == said


def test_a_disk_too_full_for_segments(disk: Path) -> None:
    """Once there is room again, all that was written is read."""
    writer = Writer(str(disk / "r"), meta())
    written = fill(writer)
    with pytest.raises(OSError, match="No space"):
        fill_up(disk / "filler")
    with pytest.raises(RecordingError, match="cannot be written any further"):
        writer.close(START, {})
    assert [] == ids(disk / "r")
    assert "cannot be now" in said[0]
    (disk / "filler").unlink()
    assert list(range(1, written + 1)) == ids(disk / "r")
    assert "done" in said[1]


def test_what_is_not_replaced(tmp_path: Path) -> None:
    """Without --force nothing, with it recordings, and never anything else that is there."""
    Writer(str(tmp_path / "r"), meta()).close(START, {})
    with pytest.raises(RecordingError, match="is there already") as told:
        Writer(str(tmp_path / "r"), meta())
    assert "--force" in told.value.hint
    (tmp_path / "r" / "notes.txt").write_text("mine")
    Writer(str(tmp_path / "r"), meta(functions=1), force=True).close(START, {})
    assert "mine" == (tmp_path / "r" / "notes.txt").read_text()
    assert 1 == len(read_meta(str(tmp_path / "r")).functions)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "segments").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("other", "file"):
        with pytest.raises(RecordingError, match="is there, and is not a recording"):
            Writer(str(tmp_path / name), meta(), force=True)
    with pytest.raises(RecordingError, match="there is no directory"):
        Writer(str(tmp_path / "none" / "r"), meta())
    (tmp_path / "empty").mkdir()
    Writer(str(tmp_path / "empty"), meta()).close(START, {})


def test_a_damaged_recording_is_replaced_only_by_force(tmp_path: Path) -> None:
    begin(tmp_path / "r")
    (tmp_path / "r" / "meta.json").write_text("{}")
    with pytest.raises(RecordingError, match="is there already"):
        Writer(str(tmp_path / "r"), meta())
    Writer(str(tmp_path / "r"), meta(), force=True).close(START, {})


def test_a_meta_without_layouts(tmp_path: Path) -> None:
    """What cannot be converted is said in one line."""
    begin(tmp_path / "r", layouts={})
    with pytest.raises(RecordingError, match="damaged: the layouts of raw records are missing"):
        open_recordings([str(tmp_path / "r")])


def test_layouts_are_what_they_were() -> None:
    layout = json.loads(json.dumps(layout_of(CALL)))
    found = dtype_of(layout)
    assert CALL.itemsize == found.itemsize
    row = closed(7, bins=[1, 2, 3, 4], waits={5: 6}).view(found)[0]
    assert (7, [1, 2, 3, 4], [5, 0], [6, 0]) == (
        row["id"], row["split.bins"].tolist(), row["split.slots"].tolist(), row["split.waits"].tolist(),
    )  # fmt: skip


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short writes go on; what fails in the middle leaves no torn record."""
    real, calls_left = os.write, [3]

    def short(file: int, data: memoryview) -> int:
        calls_left[0] -= 1
        if calls_left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:5])

    file = RawFile(str(tmp_path / "raw"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        file.write(b"0123456789abc")
        calls_left[0] = 2
        with pytest.raises(OSError, match="No space"):
            file.write(b"0123456789abc")
    file.write(b"def")
    assert b"0123456789abcdef" == (tmp_path / "raw").read_bytes()
    assert 16 == file.size
    shutil.rmtree(tmp_path)
