"""The system's libbpf, through cffi, and the one call libbpf 1.1 lacks: uprobe_multi links by bpf(2)."""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import cffi

from undergo.errors import KernelError

_DECLARATIONS = """
struct bpf_object; struct bpf_program; struct bpf_map; struct bpf_link;
struct open_opts { size_t sz; const char *object_name; bool relaxed_maps; const char *pin_root_path;
                   uint32_t : 32; const char *kconfig; const char *btf_custom_path;
                   char *kernel_log_buf; size_t kernel_log_size; uint32_t kernel_log_level; };
struct bpf_object *bpf_object__open_mem(const void *buf, size_t size, const struct open_opts *opts);
int bpf_object__load(struct bpf_object *obj);
void bpf_object__close(struct bpf_object *obj);
struct bpf_program *bpf_object__find_program_by_name(const struct bpf_object *obj, const char *name);
struct bpf_program *bpf_object__next_program(const struct bpf_object *obj, struct bpf_program *prog);
const char *bpf_program__name(const struct bpf_program *prog);
const char *bpf_program__section_name(const struct bpf_program *prog);
int bpf_program__set_autoload(struct bpf_program *prog, bool autoload);
int bpf_program__set_expected_attach_type(struct bpf_program *prog, int type);
int bpf_program__set_flags(struct bpf_program *prog, uint32_t flags);
int bpf_program__fd(const struct bpf_program *prog);
struct bpf_link *bpf_program__attach(const struct bpf_program *prog);
struct uprobe_opts { size_t sz; size_t ref_ctr_offset; uint64_t bpf_cookie; bool retprobe; const char *func_name; };
struct bpf_link *bpf_program__attach_uprobe_opts(const struct bpf_program *prog, int pid, const char *path,
                                                 size_t offset, const struct uprobe_opts *opts);
int bpf_link__destroy(struct bpf_link *link);
struct bpf_map *bpf_object__find_map_by_name(const struct bpf_object *obj, const char *name);
int bpf_map__fd(const struct bpf_map *map);
int bpf_map__set_max_entries(struct bpf_map *map, uint32_t max_entries);
void *bpf_map__initial_value(struct bpf_map *map, size_t *size);
int bpf_map_lookup_elem(int fd, const void *key, void *value);
int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags);
int bpf_map_get_next_key(int fd, const void *key, void *next_key);
int libbpf_num_possible_cpus(void);
void *libbpf_set_print(void *fn);
int libbpf_set_strict_mode(int mode);
uint32_t libbpf_major_version(void);
uint32_t libbpf_minor_version(void);
int vsnprintf(char *str, size_t size, const char *format, void *ap);
long syscall(long number, ...);
"""

#: bpf(2) command and attach type, include/uapi/linux/bpf.h (Linux 6.6)
BPF_LINK_CREATE = 28
BPF_TRACE_UPROBE_MULTI = 48
_SYS_BPF = {"x86_64": 321, "aarch64": 280}

ffi = cffi.FFI()
ffi.cdef(_DECLARATIONS)

_said: list[str] = []


@cache
def lib() -> Any:
    """The loaded library; what it prints is kept for error messages. Raises KernelError if it is missing."""
    try:
        loaded: Any = ffi.dlopen("libbpf.so.1")
    except OSError:
        found = ctypes.util.find_library("bpf")
        raise KernelError(
            "libbpf.so.1 is not installed" + (f" (found {found})" if found else ""),
            "install your distribution's libbpf package (Debian and Ubuntu: libbpf1; Fedora: libbpf)",
        ) from None
    loaded.libbpf_set_print(_printer)
    return loaded


@cache
def _libc() -> Any:
    return ffi.dlopen(None)


@ffi.callback("int(int, const char *, void *)")  # type: ignore[untyped-decorator]
def _printer(level: int, template: Any, arguments: Any) -> int:
    if level > 1:  # debug
        return 0
    text = ffi.new("char[]", 1 << 16)
    _libc().vsnprintf(text, len(text), template, arguments)
    _said.append(ffi.string(text).decode(errors="replace"))
    return 0


def forget_said() -> None:
    """Starts a fresh account of what libbpf says."""
    _said.clear()


def said() -> str:
    """What libbpf printed since `forget_said`: the verifier's words among it."""
    return "".join(_said)


def bpf(command: int, attributes: Any, size: int) -> int:
    """bpf(2): a descriptor or 0, or a negative errno."""
    result = int(
        _libc().syscall(
            _SYS_BPF[os.uname().machine],
            ffi.cast("int", command),
            ffi.cast("void *", attributes),
            ffi.cast("unsigned int", size),
        )
    )
    return result if result >= 0 else -int(ffi.errno)


def create_uprobe_multi_link(program: int, path: str, offsets: Sequence[int], cookies: Sequence[int]) -> int:
    """One link that probes many file offsets; returns its descriptor. Raises OSError with the kernel's errno."""
    paths = ffi.new("char[]", path.encode())
    offset_array = ffi.new("uint64_t[]", list(offsets))
    cookie_array = ffi.new("uint64_t[]", list(cookies))
    # union bpf_attr.link_create with its uprobe_multi member, include/uapi/linux/bpf.h (Linux 6.6):
    # prog_fd, target_fd, attach_type, flags, path, offsets, ref_ctr_offsets, cookies, cnt, flags, pid
    attr = ffi.new("uint64_t[16]")
    words = ffi.cast("uint32_t *", attr)
    words[0], words[2] = program, BPF_TRACE_UPROBE_MULTI
    attr[2] = int(ffi.cast("uintptr_t", paths))
    attr[3] = int(ffi.cast("uintptr_t", offset_array))
    attr[5] = int(ffi.cast("uintptr_t", cookie_array))
    words[12] = len(offsets)
    descriptor = bpf(BPF_LINK_CREATE, attr, 64)
    if descriptor < 0:
        raise OSError(-descriptor, os.strerror(-descriptor))
    return descriptor
