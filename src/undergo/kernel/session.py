"""One tracing session: load, attach, let it run, take out, account for everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from undergo.kernel.attach import PROGRAM_OF_ROLE, TRACEPOINTS, Probes
from undergo.kernel.features import has_bpf_loop, has_sleepable, has_uprobe_multi
from undergo.kernel.program import Program, Settings, names
from undergo.kernel.ring import CaptureRing, Ring
from undergo.plan.capture import Capture, FunctionCapture
from undergo.plan.filters import Filter, FunctionFilter, Key
from undergo.plan.probe_plan import ProbePlan, Role

INLINE_FRAMES = 8  # bpf/undergo.h
BY_SHIFT, MAX_KEYS = 24, 250  # bpf/undergo.h
TEXTS = 256  # that ops look for
DYNAMIC_TYPES = 4096  # that interfaces hold
_OF_TEST = ("kind", "relation", "on_true", "on_false", "on_unread", "piece", "at", "size", "value")
DYNAMIC_OPS = 65_536  # for all of them together


@dataclass(frozen=True, slots=True)
class Traced:
    """One executable of a session: its plan, its open descriptor, the offsets of its runtime's structs."""

    plan: ProbePlan
    descriptor: int
    layout: Mapping[str, Any]  # fields of struct layout


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command asks of the kernel side. Times in ns."""

    stream_calls: bool = False
    aggregate: bool = False
    split: bool = False  # keep clocks: where the time of each call goes
    states: bool = False  # every change of every goroutine's state
    only_states: int = 0  # bits of enum go_status, 0 for all
    only_waits: int = 0  # bits of wait slots, 0 for all
    pids: tuple[int, ...] = ()  # of executables whose layout says only_targets
    goids: tuple[int, ...] = ()
    min_duration: int = 0
    max_depth: int = 0
    ring_bytes: int = 1 << 24
    goroutines: int = 16_384
    captures: Mapping[int, FunctionCapture] = field(default_factory=dict)  # by FunctionPlan.id
    capture_bytes: int = 1 << 24  # the size of their ring
    filters: Mapping[int, FunctionFilter] = field(default_factory=dict)  # by FunctionPlan.id
    keys: Mapping[int, Key] = field(default_factory=dict)  # the same; what rows are told apart by
    max_keys: int = 50


@dataclass(frozen=True, slots=True)
class OpenFrame:
    """A call that is still open. `start` and `since` in ns, CLOCK_MONOTONIC."""

    id: int
    parent: int
    pid: int
    goid: int
    func: int
    depth: int
    start: int
    #: the clock, if one is kept: ns per bin and per wait slot since the start, up to `since`
    bins: tuple[int, ...] = ()
    waits: tuple[int, ...] = ()
    since: int = 0
    bin: int = 0  # it has been in since then
    slot: int = 0  # of the wait, if that is what it is in
    gap: bool = False  # a transition was lost


class Session:
    """Everything is attached while this is open; leaving it detaches and unloads, whatever happened."""

    def __init__(
        self,
        traced: Sequence[Traced],
        wanted: Wanted,
        *,
        uprobe_multi: bool | None = None,
        bpf_loop: bool | None = None,
    ) -> None:
        """`uprobe_multi` and `bpf_loop`: False does without them, None asks the kernel whether it has them.

        Raises KernelError, PermissionDeniedError or TargetError; nothing stays attached then.
        """
        functions = sum(len(one.plan.functions) for one in traced)
        everyone = not all(one.layout["only_targets"] for one in traced)
        processes = len(wanted.pids) + (8 if everyone else 0)
        roles = {one.role for each in traced for one in each.plan.runtime}
        if functions:
            roles |= {Role.ENTRY, Role.EXIT}
        programs = dict.fromkeys(name for role, name in PROGRAM_OF_ROLE.items() if role in roles)
        multi = has_uprobe_multi() if uprobe_multi is None else uprobe_multi
        self._ops = self._types_known = 0
        self._texts: dict[bytes, int] = {}
        own = sum(len(c.ops) for each in wanted.captures.values() for c in (each.entry, each.exit) if c)
        self._ops_room = own + DYNAMIC_OPS if wanted.captures else 0
        made = [one for each in wanted.filters.values() for one in (each.entry, each.exit) if one]
        self._ops_room += sum(len(one.ops) for one in made)
        self._ops_room += sum(len(key.ops) for key in wanted.keys.values())
        rows = min(wanted.max_keys, MAX_KEYS) + 2 if wanted.keys else 1
        self._program = Program(
            Settings(
                layouts=tuple(one.layout for one in traced),
                programs=(*programs, *(TRACEPOINTS if wanted.split else ())),
                filter_goids=bool(wanted.goids),
                stream_calls=wanted.stream_calls,
                aggregate=wanted.aggregate,
                keep_clocks=wanted.split,
                watch_states=wanted.states,
                wanted_states=wanted.only_states,
                wanted_slots=wanted.only_waits,
                min_duration=wanted.min_duration,
                max_depth=wanted.max_depth,
                ring_bytes=wanted.ring_bytes,
                capture_bytes=wanted.capture_bytes if wanted.captures else 0,
                ops=self._ops_room,
                dynamic=DYNAMIC_TYPES if wanted.captures else 0,
                captured=max(wanted.captures, default=-1) + 1,
                tests=sum(len(one.tests) for one in made),
                texts=TEXTS,
                filtered=max((*wanted.filters, *wanted.keys), default=-1) + 1,
                keys=rows - 2 if wanted.keys else 0,
                goroutines=wanted.goroutines,
                functions=max(64, functions * (processes + 1) * rows),
                sleepable=bool(wanted.captures or made or wanted.keys) and bool(has_sleepable()),
                uprobe_multi=multi,
                bpf_loop=has_bpf_loop() if bpf_loop is None else bpf_loop,
            )
        )
        self._split = wanted.split
        self._probes = Probes(self._program, uprobe_multi=multi)
        self._ring: Ring | None = None
        self._captures: CaptureRing | None = None
        try:
            for pid in wanted.pids:
                self.add_process(pid)
            for goid in wanted.goids:
                self._program.put("wanted_goids", goid.to_bytes(8, "little"), b"\0\0\0\0")
            if wanted.stream_calls or wanted.states:
                record = self._program.btf.dtype("call_record")
                self._ring = Ring(self._program.map_fd("records"), wanted.ring_bytes, record)
            if wanted.captures:
                self._captures = CaptureRing(self._program.map_fd("captures"), wanted.capture_bytes)
                self._load(wanted.captures)
            self._load_filters(wanted.filters)
            self._load_keys(wanted.keys)
            if wanted.split:
                self._probes.attach_tracepoints()
            for one in traced:
                self._probes.attach(one.plan, one.descriptor)
            self._program.set_active(True)
        except BaseException:
            self.close()
            raise

    def _load(self, captures: Mapping[int, FunctionCapture]) -> None:
        """Puts ops and which functions they are of into their maps."""
        row = self._program.btf.dtype("captured")
        for function, each in captures.items():
            value = np.zeros(1, row)
            for where, capture in (("entry", each.entry), ("exit", each.exit)):
                if capture is None:
                    continue
                value[f"{where}_first"], value[f"{where}_count"] = self._put(capture), len(capture.ops)
                value[f"{where}_wanted"] = 1
            self._program.put("captured", function.to_bytes(4, "little"), value.tobytes())

    def _load_filters(self, filters: Mapping[int, FunctionFilter]) -> None:
        test, row = self._program.btf.dtype("test"), self._program.btf.dtype("filter")
        number = 0
        for function, each in filters.items():
            value = np.zeros(1, row)
            for where, one in (("entry", each.entry), ("exit", each.exit)):
                if one is None:
                    continue
                value[where] = (self._put(one), len(one.ops), number, len(one.tests))
                for made in one.tests:
                    entry = np.zeros(1, test)
                    for name in (
                        "kind",
                        "relation",
                        "on_true",
                        "on_false",
                        "on_unread",
                        "piece",
                        "at",
                        "size",
                        "value",
                    ):
                        entry[name] = getattr(made, name)
                    entry["text"] = np.frombuffer(made.text.ljust(entry["text"].nbytes, b"\0"), "<u8")
                    self._program.put("tests", number.to_bytes(4, "little"), entry.tobytes())
                    number += 1
            self._program.put("filters", function.to_bytes(4, "little"), value.tobytes())

    def _load_keys(self, keys: Mapping[int, Key]) -> None:
        row = self._program.btf.dtype("by")
        for function, key in keys.items():
            value = np.zeros(1, row)
            value[0] = (self._put(key), len(key.ops), 1, key.kind, key.piece, key.at, key.size)
            self._program.put("by_functions", function.to_bytes(4, "little"), value.tobytes())

    def key_values(self) -> dict[int, tuple[bytes, int, bool]]:
        """Of each number in `by` (bits 24 to 31 of a row's function): bytes, length, whether it is a text."""
        btf = self._program.btf
        rows = self._program.rows(
            "by_values", btf.dtype("by_value"), np.dtype([("number", "<u4")]), per_cpu=False
        )
        return {
            int(values[0]["number"]): (key["words"].tobytes(), int(key["length"]), bool(key["is_text"]))
            for key, values in rows
        }

    def untested(self) -> int:
        """Calls that count as filtered because there was no room to test them."""
        return self._program.counter("untested")

    def _put(self, capture: Capture | Filter | Key) -> int:
        """Adds the ops of a capture or filter to those of the session; the number of the first."""
        op, first = self._program.btf.dtype("op"), self._ops
        for one in capture.ops:
            size = one.size if one.text is None else self._text(one.text)
            fields = (one.kind, one.origin, one.at, size, one.stride, one.offset, one.wanted, one.group)
            self._program.put("ops", self._ops.to_bytes(4, "little"), np.array([fields], op).tobytes())
            self._ops += 1
        return first

    def _text(self, text: bytes) -> int:
        """The number of a text that ops look for."""
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            row = np.zeros(1, self._program.btf.dtype("text"))
            row["length"] = len(text)
            row["words"] = np.frombuffer(text.ljust(row["words"].nbytes, b"\0"), "<u8")
            self._program.put("texts", self._texts[text].to_bytes(4, "little"), row.tobytes())
        return self._texts[text]

    def add_dynamic(self, executable: int, type_: int, capture: Capture) -> bool:
        """From now on interfaces are looked into that hold this type; its address as linked. False: no room."""
        if self._ops + len(capture.ops) > self._ops_room or self._types_known >= DYNAMIC_TYPES:
            return False
        first = self._put(capture)
        key = type_.to_bytes(8, "little") + executable.to_bytes(8, "little")
        value = first.to_bytes(4, "little") + len(capture.ops).to_bytes(4, "little")
        self._program.put("dynamic_types", key, value)
        self._types_known += 1
        return True

    def add_process(self, pid: int) -> None:
        """Traces one more process of the executables."""
        self._program.put("targets", pid.to_bytes(4, "little"), b"\0\0\0\0")

    def filenos(self) -> tuple[int, ...]:
        """To poll on: readable once a good part of a ring is filled."""
        return tuple(self._program.map_fd(name) for name in ("records", "captures"))

    def read(self) -> npt.NDArray[np.void]:
        """The records that came since; dtype struct call_record."""
        if self._ring is None:
            return np.zeros(0, self._program.btf.dtype("call_record"))
        return self._ring.read()

    def read_captures(self) -> list[bytes]:
        """The arguments and results that came since; each a struct capture_record, cut to its length.

        Read after `read`, they hold all that belongs to its calls.
        """
        return [] if self._captures is None else self._captures.read()

    def captures_lost(self) -> int:
        """Events whose arguments or results had no room."""
        return self._program.counter("captures_lost")

    def stop(self) -> None:
        """Ends tracing: takes the probes out. Records and tables stay readable."""
        self._program.set_active(False)
        self._probes.detach()

    def tallies(self) -> Iterator[tuple[int, int, npt.NDArray[np.void]]]:
        """(pid, function, struct tally per CPU); pid 0 is all processes nobody asked about."""
        yield from self._tables("tallies", "tally")

    def overflow(self) -> npt.NDArray[np.void]:
        """What did not fit in the per-function tables; struct tally per CPU."""
        one = np.dtype([("index", "<u4")])
        rows = self._program.rows("overflow", one, self._program.btf.dtype("tally"), per_cpu=True)
        return next(values for _, values in rows)

    def latencies(self) -> Iterator[tuple[int, int, npt.NDArray[np.void]]]:
        """(pid, function, struct latency per CPU)."""
        yield from self._tables("latencies", "latency")

    def _tables(self, table: str, value: str) -> Iterator[tuple[int, int, npt.NDArray[np.void]]]:
        btf = self._program.btf
        for key, values in self._program.rows(
            table, btf.dtype("function_key"), btf.dtype(value), per_cpu=True
        ):
            yield int(key["tgid"]), int(key["func"]), values

    def open_frames(self) -> list[OpenFrame]:
        """Calls open now, callers before callees."""
        btf = self._program.btf
        deep = {
            (key["goroutine"].tobytes(), int(key["index"])): values[0]
            for key, values in self._program.rows(
                "deep_frames", btf.dtype("frame_key"), btf.dtype("frame"), per_cpu=False
            )
        }
        found = []
        for key, values in self._program.rows(
            "goroutines", btf.dtype("goroutine_key"), btf.dtype("goroutine"), per_cpu=False
        ):
            goroutine, parent = values[0], 0
            for index in range(int(goroutine["open"])):
                frame = (
                    goroutine["frames"][index] if index < INLINE_FRAMES else deep.get((key.tobytes(), index))
                )
                if frame is None:
                    continue
                found.append(
                    OpenFrame(
                        id=int(frame["id"]),
                        parent=parent,
                        pid=int(key["tgid"]),
                        goid=int(goroutine["goid"]),
                        func=int(frame["func"]) | int(frame["by"]) << BY_SHIFT,
                        depth=index,
                        start=int(frame["start"]),
                        **(_clock(goroutine["clock"], frame) if self._split else {}),
                    )
                )
                parent = int(frame["id"])
        return found

    def dtype(self, name: str) -> np.dtype[np.void]:
        """The layout of `struct name` of bpf/undergo.h."""
        return self._program.btf.dtype(name)

    def states(self) -> Iterator[tuple[int, np.void]]:
        """(pid, struct state) of every goroutine that is not dead and has changed its state."""
        btf = self._program.btf
        rows = self._program.rows("states", btf.dtype("goroutine_key"), btf.dtype("state"), per_cpu=False)
        for key, values in rows:
            yield int(key["tgid"]), values[0]

    def clock_repairs(self) -> int:
        """How often a clock was set right, because this kernel did not show that a thread was back on its CPU."""
        return self._program.counter("clock_repairs")

    def drop_causes(self) -> list[str]:
        """Names of the counters in tally.dropped."""
        return names(
            [name for name in self._program.btf.enum("drop_cause") if name != "DROP_CAUSES"], "DROP_"
        )

    def close(self) -> None:
        """Detaches and unloads; harmless when repeated."""
        self._probes.detach()
        self._program.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _clock(clock: np.void, frame: np.void) -> dict[str, Any]:
    spent, before = clock["spent"], frame["before"]
    return {
        "bins": tuple((spent["bins"] - before["bins"]).tolist()),
        "waits": tuple((spent["waits"] - before["waits"]).tolist()),
        "since": int(clock["since"]),
        "bin": int(clock["bin"]),
        "slot": int(clock["slot"]),
        "gap": bool(clock["gaps"] != frame["gaps"]),
    }
