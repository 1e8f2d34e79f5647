"""The compiled BPF object, loaded: its knobs set, its maps sized, its programs verified."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from undergo.errors import KernelError, PermissionDeniedError
from undergo.kernel.btf import Btf
from undergo.kernel.features import SLEEPABLE
from undergo.kernel.libbpf import BPF_TRACE_UPROBE_MULTI, ffi, forget_said, lib, said

_EPERM = 1
_READERS = ("call_entry", "call_exit")
_STATES_PER_GOROUTINE = 8  # rows of a goroutine's state, for which a call need not be open

#: At most this much kernel memory for histograms, whatever the number of functions and processors.
HISTOGRAM_BYTES = 1 << 28
SCRATCHES_PER_CPU = 4  # bpf/undergo.h


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fixed before loading. Times in ns."""

    layouts: tuple[Mapping[str, Any], ...]  # per executable, field names of struct layout
    programs: tuple[str, ...]  # programs to load; the others are not verified
    filter_goids: bool = False
    stream_calls: bool = False
    aggregate: bool = False
    keep_clocks: bool = False
    watch_states: bool = False
    wanted_states: int = 0  # bits of enum go_status, 0 for all
    wanted_slots: int = 0  # bits of wait slots, 0 for all
    min_duration: int = 0
    max_depth: int = 0
    ring_bytes: int = 1 << 24
    capture_bytes: int = 0  # the size of the captures' ring; 0: no captures
    ops: int = 0  # of all captures
    captured: int = 0  # functions with captures are numbered below this
    dynamic: int = 0  # types that interfaces may hold
    tests: int = 0  # of all filters; 0: no filters
    texts: int = 0  # that are looked for
    filtered: int = 0  # functions with filters are numbered below this
    keys: int = 0  # values that rows are told apart by
    goroutines: int = 16_384
    deep_frames: int = 65_536
    functions: int = 1024  # rows of per-function tables
    sleepable: bool = False  # programs that read values may wait for memory
    uprobe_multi: bool = True
    bpf_loop: bool = True

    @property
    def reads_values(self) -> bool:
        """Whether programs read what calls are given."""
        return bool(self.capture_bytes or self.tests or self.keys)

    @property
    def streams(self) -> bool:
        """Whether records come through the ring."""
        return self.stream_calls or self.watch_states


class Program:
    """A loaded object. Close it to give everything back; closing twice is harmless."""

    def __init__(self, settings: Settings) -> None:
        """Raises KernelError where the kernel refuses, PermissionDeniedError where it takes more rights."""
        raw = object_bytes()
        self.btf = Btf(raw)
        self._lib = lib()
        forget_said()
        self._raw = ffi.new("char[]", raw)
        self._object: Any = self._lib.bpf_object__open_mem(self._raw, len(raw), ffi.NULL)
        if not self._object:
            raise KernelError("the BPF object does not open", "reinstall undergo", said())
        try:
            self._prepare(settings)
            error = self._lib.bpf_object__load(self._object)
            if error:
                raise _load_error(-error)
        except BaseException:
            self.close()
            raise

    def _prepare(self, settings: Settings) -> None:
        program = ffi.NULL
        while program := self._lib.bpf_object__next_program(self._object, program):
            name = ffi.string(self._lib.bpf_program__name(program)).decode()
            self._lib.bpf_program__set_autoload(program, name in settings.programs)
            if settings.uprobe_multi and self._section(program) == "uprobe":
                self._lib.bpf_program__set_expected_attach_type(program, BPF_TRACE_UPROBE_MULTI)
            if settings.reads_values and settings.sleepable and name in _READERS:
                self._lib.bpf_program__set_flags(program, SLEEPABLE)
        self._size("records", settings.ring_bytes if settings.streams else 4096)
        self._size("captures", settings.capture_bytes or 4096)
        self._size("ops", max(settings.ops, 1))
        self._size("captured", max(settings.captured, 1))
        self._size("dynamic_types", max(settings.dynamic, 1))
        scratches = self._lib.libbpf_num_possible_cpus() * SCRATCHES_PER_CPU
        self._size("scratches", scratches if settings.reads_values else 1)
        self._size("tests", max(settings.tests, 1))
        self._size("texts", max(settings.texts, 1))
        self._size("filters", max(settings.filtered, 1))
        self._size("by_functions", max(settings.filtered, 1))
        self._size("by_values", max(settings.keys, 1))
        self._size("goroutines", settings.goroutines)
        self._size("states", settings.goroutines * _STATES_PER_GOROUTINE if settings.watch_states else 1)
        self._size("deep_frames", settings.deep_frames)
        self._size("tallies", settings.functions)
        room = HISTOGRAM_BYTES // (self._lib.libbpf_num_possible_cpus() * self.btf.dtype("latency").itemsize)
        self._size("latencies", min(settings.functions, room) if settings.aggregate else 1)
        self._set_knobs(settings)

    def _set_knobs(self, settings: Settings) -> None:
        rodata, offsets = self._memory(".rodata"), self.btf.variables(".rodata")
        layout = self.btf.dtype("layout")
        layouts = np.zeros(len(settings.layouts), layout)
        for row, known in zip(layouts, settings.layouts, strict=True):
            for name, value in known.items():
                row[name] = value
        numbers = {
            "filter_goids": settings.filter_goids,
            "stream_calls": settings.stream_calls,
            "aggregate": settings.aggregate,
            "keep_clocks": settings.keep_clocks,
            "by_most": settings.keys,
            "filter_calls": bool(settings.tests),
            "capture_values": bool(settings.capture_bytes),
            "watch_states": settings.watch_states,
            "wanted_states": settings.wanted_states,
            "wanted_slots": settings.wanted_slots,
            "may_sleep": settings.sleepable,
            "has_bpf_loop": settings.bpf_loop,
            "min_duration": settings.min_duration,
            "max_depth": settings.max_depth,
            "wakeup_bytes": settings.ring_bytes // 4,
            "crowded": settings.goroutines * 3 // 4,
        }
        at, _ = offsets["layouts"]
        rodata[at : at + layouts.nbytes] = np.frombuffer(layouts.tobytes(), np.uint8)
        for name, value in numbers.items():
            at, size = offsets[name]
            rodata[at : at + size] = np.frombuffer(int(value).to_bytes(size, "little"), np.uint8)

    def _memory(self, section: str) -> npt.NDArray[np.uint8]:
        size = ffi.new("size_t *")
        start = self._lib.bpf_map__initial_value(self._map(section), size)
        return np.frombuffer(ffi.buffer(start, size[0]), np.uint8)

    def _map(self, name: str) -> Any:
        found = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise KernelError(f"the BPF object has no map {name}", "reinstall undergo")
        return found

    def _size(self, name: str, entries: int) -> None:
        self._lib.bpf_map__set_max_entries(self._map(name), entries)

    def _section(self, program: Any) -> str:
        return str(ffi.string(self._lib.bpf_program__section_name(program)).decode())

    def set_active(self, active: bool) -> None:
        """Lets the programs begin, or makes every one of them return at once."""
        self.put(".data.active", bytes(4), int(active).to_bytes(4, "little"))

    def counter(self, name: str) -> int:
        """A variable of the object's .bss, as it is now."""
        at, size = self.btf.variables(".bss")[name]
        return int.from_bytes(self._memory(".bss")[at : at + size].tobytes(), "little")

    def program_fd(self, name: str) -> int:
        """The descriptor of a loaded program."""
        return int(self._lib.bpf_program__fd(self._named(name)))

    def _named(self, name: str) -> Any:
        return self._lib.bpf_object__find_program_by_name(self._object, name.encode())

    def attach_one(self, name: str, path: str, offset: int, cookie: int) -> Any:
        """One perf-event uprobe, where the kernel has no uprobe_multi; returns libbpf's link."""
        options = ffi.new("struct uprobe_opts *")
        options.sz, options.bpf_cookie = ffi.sizeof("struct uprobe_opts"), cookie
        link = self._lib.bpf_program__attach_uprobe_opts(
            self._named(name), -1, path.encode(), offset, options
        )
        if not link:
            raise OSError(ffi.errno, "attach_uprobe")
        return link

    def attach_tracepoint(self, name: str) -> Any:
        """Puts a program on the tracepoint its section names; returns libbpf's link. Raises OSError."""
        link = self._lib.bpf_program__attach(self._named(name))
        if not link:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        return link

    def detach_one(self, link: Any) -> None:
        """Undoes `attach_one` and `attach_tracepoint`."""
        self._lib.bpf_link__destroy(link)

    def map_fd(self, name: str) -> int:
        """The descriptor of a map."""
        return int(self._lib.bpf_map__fd(self._map(name)))

    def put(self, name: str, key: bytes, value: bytes) -> None:
        """Sets one map entry. Raises KernelError if it does not fit."""
        if self._lib.bpf_map_update_elem(self.map_fd(name), key, value, 0):
            raise KernelError(f"no room in the map {name}")

    def rows(
        self, name: str, key: np.dtype[np.void], value: np.dtype[np.void], *, per_cpu: bool
    ) -> Iterator[tuple[np.void, npt.NDArray[np.void]]]:
        """The entries of a hash map: key, and its value on every possible CPU (shape (cpus,), else (1,))."""
        cpus = self._lib.libbpf_num_possible_cpus() if per_cpu else 1
        stride = (value.itemsize + 7) // 8 * 8
        buffer = np.zeros(cpus * stride, np.uint8)
        descriptor, at, following = self.map_fd(name), ffi.NULL, ffi.new("char[]", key.itemsize)
        target = ffi.from_buffer(buffer)
        while not self._lib.bpf_map_get_next_key(descriptor, at, following):
            if not self._lib.bpf_map_lookup_elem(descriptor, following, target):
                values = np.ndarray((cpus,), value, buffer.tobytes(), strides=(stride,))
                yield np.frombuffer(bytes(ffi.buffer(following)), key)[0], values
            at = ffi.new("char[]", bytes(ffi.buffer(following)))

    def close(self) -> None:
        """Unloads programs and maps."""
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def object_bytes() -> bytes:
    """The compiled object as installed. Raises KernelError if it was not built."""
    try:
        return files("undergo.bpf").joinpath("undergo.bpf.o").read_bytes()
    except OSError:
        raise KernelError("the BPF object was not built", "run `make install`") from None


def _load_error(errno: int) -> KernelError | PermissionDeniedError:
    words = said()
    if errno == _EPERM:
        return PermissionDeniedError(
            "this user may not load BPF programs",
            "run with sudo; `undergo doctor` shows what is missing",
        )
    lines = words.partition("-- END PROG LOAD LOG --")[0].splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith(("libbpf:", "processed"))]
    reason = lines[-1].strip() if lines else os.strerror(errno)
    return KernelError(
        f"the kernel refused a BPF program: {reason}", "`undergo doctor` shows what it can do", words
    )


def names(values: Sequence[str], prefix: str) -> list[str]:
    """Enum names in the field's words: DROP_RING_FULL -> "ring full"."""
    return [value.removeprefix(prefix).lower().replace("_", " ") for value in values]
