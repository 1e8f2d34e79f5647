"""What this kernel and this user can do. Every answer is tried, none is guessed from a version number.

Three answers: True, False, or None where it could not be told (for want of rights, say).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import cache

from undergo.kernel.libbpf import BPF_TRACE_UPROBE_MULTI, bpf, create_uprobe_multi_link, ffi

_MAP_CREATE, _PROG_LOAD = 0, 5
_TYPE_KPROBE = 2
_RINGBUF = 27
SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE, include/uapi/linux/bpf.h
#: cap_bpf etc., include/uapi/linux/capability.h
CAPABILITIES = {
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_RESOURCE": 24,
}


def _bpf(command: int, words: list[int], size: int) -> int:
    """bpf(2) with its attributes as 32-bit words; a descriptor, or a negative errno."""
    return bpf(command, ffi.new("uint32_t[]", words + [0] * (size // 4 - len(words))), size)


def _try_program(instructions: list[int], attach_type: int = 0, flags: int = 0) -> bool | None:
    """Whether a tiny uprobe program loads; None if this user may not load any."""
    code = ffi.new("uint64_t[]", instructions)
    licence = ffi.new("char[]", b"GPL")
    at, words = int(ffi.cast("uintptr_t", code)), int(ffi.cast("uintptr_t", licence))
    attr = [_TYPE_KPROBE, len(instructions), at & 0xFFFFFFFF, at >> 32, words & 0xFFFFFFFF, words >> 32]
    attr += [0, 0, 0, 0, 0, flags, 0, 0, 0, 0, 0, attach_type]  # log, kern_version, flags, name, ifindex
    return _answer(_bpf(_PROG_LOAD, attr, 72))


def _answer(result: int) -> bool | None:
    if result >= 0:
        os.close(result)
        return True
    return None if result == -errno.EPERM else False


_EXIT_0 = [0xB7, 0x95]  # r0 = 0; exit


@cache
def may_load() -> bool | None:
    """Whether this user may load a uprobe program."""
    result = _try_program(_EXIT_0)
    return False if result is None else result


@cache
def has_uprobe_multi() -> bool:
    """Many probes on one link (Linux 6.6).

    A link to a file that does not exist is asked for: ENOENT means that the kernel knows the attach type.
    """
    code = ffi.new("uint64_t[]", _EXIT_0)
    licence = ffi.new("char[]", b"GPL")
    at, words = int(ffi.cast("uintptr_t", code)), int(ffi.cast("uintptr_t", licence))
    attr = [_TYPE_KPROBE, 2, at & 0xFFFFFFFF, at >> 32, words & 0xFFFFFFFF, words >> 32]
    attr += [0] * 11 + [BPF_TRACE_UPROBE_MULTI]
    program = _bpf(_PROG_LOAD, attr, 72)
    if program < 0:
        return False
    try:
        create_uprobe_multi_link(program, "/nonexistent/undergo", [0], [0])
    except OSError as error:
        return error.errno == errno.ENOENT
    finally:
        os.close(program)
    return True


def _in_kernel_btf(name: str) -> bool | None:
    try:
        with open("/sys/kernel/btf/vmlinux", "rb") as btf:
            return b"\0" + name.encode() + b"\0" in btf.read()
    except OSError:
        return None


@cache
def has_bpf_loop() -> bool:
    """The helper bpf_loop (Linux 5.17), a function of that name in the kernel's BTF."""
    return bool(_in_kernel_btf("bpf_loop"))


def has_btf() -> bool:
    """The kernel's own BTF, needed for CO-RE."""
    return os.access("/sys/kernel/btf/vmlinux", os.R_OK)


@cache
def has_ring_buffer() -> bool | None:
    """BPF_MAP_TYPE_RINGBUF (Linux 5.8)."""
    return _answer(_bpf(_MAP_CREATE, [_RINGBUF, 0, 0, 4096], 72))


def has_task_storage() -> bool | None:
    """Storage that lives as long as a thread (Linux 5.11)."""
    return _in_kernel_btf("bpf_task_storage_get")


@cache
def has_cookies() -> bool | None:
    """bpf_get_attach_cookie (Linux 5.15)."""
    return _try_program([0x85 | 174 << 32, 0xB7, 0x95])


@cache
def has_sleepable() -> bool | None:
    """Sleepable uprobe programs (Linux 6.0)."""
    return _try_program(_EXIT_0, flags=SLEEPABLE)


@cache
def has_tracepoint(name: str) -> bool | None:
    """Whether the kernel's BTF has the raw tracepoint `name` (btf_trace_NAME)."""
    return _in_kernel_btf(f"btf_trace_{name}")


@dataclass(frozen=True, slots=True)
class Rights:
    """The user's effective capabilities that matter here."""

    held: tuple[str, ...]
    missing: tuple[str, ...]


def rights() -> Rights:
    """Reads /proc/self/status."""
    with open("/proc/self/status") as status:
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    held = tuple(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)
    return Rights(held, tuple(name for name in CAPABILITIES if name not in held))
