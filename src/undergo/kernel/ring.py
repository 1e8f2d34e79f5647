"""Reading the ring: whole batches of fixed-size records, straight from the shared mapping.

Layout of BPF_MAP_TYPE_RINGBUF (kernel/bpf/ringbuf.c, Linux 6.18): one page with the consumer's position, one
with the producer's, then the data, mapped twice in a row so that no batch ever wraps. Each record has an 8-byte
header: length with BUSY in bit 31 and DISCARD in bit 30, and a page offset.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

_BUSY, _DISCARD = np.uint32(1 << 31), np.uint32(1 << 30)


class _Mapped:
    """The two mappings of a ring."""

    def __init__(self, descriptor: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._consumer_map = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._map = mmap.mmap(descriptor, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_map, np.uint64, 1)
        self._producer = np.frombuffer(self._map, np.uint64, 1)
        self._size = size


class CaptureRing(_Mapped):
    """The consumer of a ring whose records have lengths of their own."""

    def read(self) -> list[bytes]:
        """All records that are complete, in order, copied out."""
        at, end = int(self._consumer[0]), int(self._producer[0])
        found = []
        while at < end:
            offset = mmap.PAGESIZE + at % self._size
            length = int.from_bytes(self._map[offset : offset + 4], "little")
            if length & int(_BUSY):
                break
            if not length & int(_DISCARD):
                found.append(self._map[offset + 8 : offset + 8 + length])
            at += 8 + ((length & ~int(_DISCARD)) + 7) // 8 * 8
        self._consumer[0] = at
        return found


class Ring(_Mapped):
    """The consumer of one ring whose records all are of `record`'s size."""

    def __init__(self, descriptor: int, size: int, record: np.dtype[np.void]) -> None:
        super().__init__(descriptor, size)
        self._slot = np.dtype([("length", "<u4"), ("page", "<u4"), ("record", record)])

    def read(self) -> npt.NDArray[np.void]:
        """All records that are complete, in order, copied out; shape (n,), the record's dtype."""
        start, end = int(self._consumer[0]), int(self._producer[0])
        count = (end - start) // self._slot.itemsize
        offset = mmap.PAGESIZE + start % self._size
        slots = np.frombuffer(self._map, self._slot, count, offset)
        lengths = slots["length"].copy()
        busy = np.flatnonzero(lengths & _BUSY)
        if len(busy):
            count = int(busy[0])
        records: npt.NDArray[np.void] = slots["record"][:count][(lengths[:count] & _DISCARD) == 0].copy()
        self._consumer[0] = start + count * self._slot.itemsize
        return records
