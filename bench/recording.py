"""What it takes to write a recording: made-up calls at a steady rate, as the ring would give them.

    python bench/recording.py [CALLS_PER_SECOND] [SECONDS] [DIRECTORY]

Requests of 20 calls each, three deep, on a thousand goroutines; in every fifth call something was waited for. Told are
the share of a core that writing takes, segments included, the bytes on disk per call, and how long the next command
takes to close the recording if undergo is killed at the worst moment.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.raw_records import CALL, meta
from undergo.recording.meta import Meta
from undergo.recording.raw import RawFile
from undergo.recording.reader import open_recordings
from undergo.recording.writer import RECORDS, Writer

LEAVES = 9  # of each of two calls of a request
POLL = 0.1  # s


def request() -> npt.NDArray[np.void]:
    """The records of one request, ids from 1, times from 0: a root, two calls, and nine leaves in each."""
    rows: list[tuple[int, int, int, int, int]] = []  # kind, id, parent, func, depth

    def opened(id: int, parent: int, func: int, depth: int) -> None:
        rows.append((1, id, parent, func, depth))

    opened(1, 0, 0, 0)
    for call in (2, 12):
        opened(call, 1, 1 if call == 2 else 2, 1)
        rows.extend((2, call + leaf, call, 2 + leaf, 2) for leaf in range(1, LEAVES + 1))
        rows.append((2, call, 1, 1 if call == 2 else 2, 1))
    rows.append((2, 1, 0, 0, 0))
    made = np.zeros(len(rows), CALL)
    for column, name in enumerate(("kind", "id", "parent", "func", "depth")):
        made[name] = [row[column] for row in rows]
    made["tgid"], made["tid"] = 100, 101
    return made


class Requests:
    """Batches of requests one after the other."""

    def __init__(self) -> None:
        self._one = request()
        self.calls_each = int((self._one["kind"] == 2).sum())
        self._chance = np.random.default_rng(1)
        self._first = 0

    def batch(self, requests: int) -> npt.NDArray[np.void]:
        """So many; the time from one to the next is 40 us."""
        rows = np.tile(self._one, requests)
        number = np.repeat(np.arange(self._first, self._first + requests, dtype=np.uint64), len(self._one))
        self._first += requests
        rows["id"] += number * 32
        rows["parent"] = np.where(rows["parent"] == 0, 0, rows["parent"] + number * 32)
        rows["goid"] = 1 + number % 1000
        rows["start"] = number * 40_000 + self._chance.integers(0, 20_000, len(rows), dtype=np.uint64)
        rows["wall"] = self._chance.lognormal(8, 1.5, len(rows)).astype(np.uint64)
        rows["flags"] = 1
        waited = self._chance.random(len(rows)) < 0.2
        bins = np.zeros((len(rows), 4), np.uint64)
        bins[waited, 3] = rows["wall"][waited] // 2
        rows["split"]["bins"] = bins
        rows["split"]["waits"][:, 0] = bins[:, 3]
        rows["split"]["slots"][:, 0] = self._chance.integers(0, 4, len(rows))
        return rows


def steadily(where: str, made: Meta, rate: int, seconds: int) -> None:
    """Feeds a writer, and prints what that took."""
    requests = Requests()
    each = max(1, int(rate * POLL / requests.calls_each))
    batches = [requests.batch(each) for _ in range(int(seconds / POLL))]
    calls = each * requests.calls_each * len(batches)
    writer = Writer(where, made)
    began, spent, longest = time.perf_counter(), time.process_time(), 0.0
    for number, batch in enumerate(batches):
        time.sleep(max(0.0, began + number * POLL - time.perf_counter()))
        before = time.perf_counter()
        writer.append(batch)
        longest = max(longest, time.perf_counter() - before)
    took = time.perf_counter() - began
    closing = time.perf_counter()
    writer.close(1, {})
    closed = time.perf_counter() - closing
    share = (time.process_time() - spent) / took
    print(f"{calls / took:12,.0f} calls/s ({len(batch) / POLL:,.0f} records/s) for {took:.1f} s")
    print(f"{share:12.1%} of a core, segments included")
    print(f"{longest * 1000:12.1f} ms the longest time that the reader of the ring was kept")
    print(f"{closed:12.2f} s to close it at the end")
    print(f"{writer.size / calls:12.1f} bytes on disk per call")


def abandoned(where: str, made: Meta) -> None:
    """Prints how long it takes to close a recording of which only raw files are there."""
    os.makedirs(os.path.join(where, "segments"))
    made.write(where)
    requests = Requests()
    for number in range(2):  # one was being converted, the next one is full
        file = RawFile(os.path.join(where, f"raw-{number:06d}"))
        file.write(requests.batch(RECORDS // len(request())).view(np.uint8).data)
        file.close()
    began = time.perf_counter()
    opened = open_recordings([where], say=lambda _: None)
    took = time.perf_counter() - began
    found = opened.connection.execute("select count(*) from calls").fetchone()
    assert found is not None
    print(f"{took:12.2f} s to close it after a kill, with {found[0]:,} calls not yet in segments")


def main() -> None:
    """Measures and prints."""
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    folder = tempfile.mkdtemp(dir=sys.argv[3] if len(sys.argv) > 3 else None)
    try:
        steadily(os.path.join(folder, "steady.undergo"), meta(functions=32), rate, seconds)
        abandoned(os.path.join(folder, "abandoned.undergo"), meta(functions=32))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
