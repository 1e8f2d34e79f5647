"""`undergo doctor`: what this kernel and this user can do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

import click

from undergo.cli.options import output_options
from undergo.errors import KernelError
from undergo.views import jsonlines
from undergo.views.doctor import Check, State, doctor_lines
from undergo.views.style import palette


@click.command("doctor")
@output_options
def command(as_json: bool, color: str) -> None:
    """Try what undergo needs of this kernel and this user; say what is missing and how to get it.

    \b
    Examples:
      undergo doctor
      sudo undergo doctor --json
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    checks = examine()
    if as_json:
        text = "".join(jsonlines.check(check) for check in checks)
    else:
        text = "\n".join(doctor_lines(checks, style, shutil.get_terminal_size((100, 40)).columns)) + "\n"
    jsonlines.write_batch(sys.stdout.buffer, text)


def examine() -> list[Check]:
    """Every check, in the order of need. Never raises for what is missing."""
    kernel = os.uname()
    first = Check("machine", "ok", f"Linux {kernel.release}, {kernel.machine}")
    if kernel.machine != "x86_64":
        first = Check("machine", "missing", kernel.machine, "tracing works on x86-64 for now")
    try:
        from undergo.kernel import features
        from undergo.kernel.libbpf import lib

        version = f"{lib().libbpf_major_version()}.{lib().libbpf_minor_version()}"
    except KernelError as error:
        return [first, Check("libbpf", "missing", error.message, error.hint)]
    held = features.rights()
    needed = [name for name in ("CAP_BPF", "CAP_PERFMON") if name in held.missing]
    if "CAP_SYS_ADMIN" in held.held:
        needed = []
    root = "run with sudo, or give python CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE"

    def tried(name: str, ask: Callable[[], bool | None], why: str, remedy: str) -> Check:
        answer = ask()
        state: State = "unknown" if answer is None else "ok" if answer else "missing"
        return Check(name, state, why, root if answer is None else remedy)

    rights: State = "missing" if needed else "ok"
    rlimit = (
        " (CAP_SYS_RESOURCE is not held, and not needed since Linux 5.11)"
        if "CAP_SYS_RESOURCE" in held.missing
        else ""
    )
    return [
        first,
        Check("libbpf", "ok", f"version {version}"),
        Check("rights", rights, (", ".join(needed) + " missing" if needed else "may trace") + rlimit, root),
        tried("load programs", features.may_load, "uprobe programs pass the verifier", root),
        tried(
            "kernel BTF",
            features.has_btf,
            "/sys/kernel/btf/vmlinux",
            "a kernel built with CONFIG_DEBUG_INFO_BTF",
        ),
        tried("ring buffer", features.has_ring_buffer, "events in whole batches", "Linux 5.8 or later"),
        tried("attach cookies", features.has_cookies, "one program for many probes", "Linux 5.15 or later"),
        tried(
            "uprobe_multi",
            features.has_uprobe_multi,
            "thousands of probes at once",
            "Linux 6.6 or later; without it probes are attached one by one, slowly",
        ),
        tried("bpf_loop", features.has_bpf_loop, "deep panics unwound at once", "Linux 5.17 or later"),
        tried(
            "sleepable uprobes", features.has_sleepable, "memory that is not resident", "Linux 6.0 or later"
        ),
        tried("task storage", features.has_task_storage, "a clock per thread", "Linux 5.11 or later"),
        tried(
            "sched_switch",
            lambda: features.has_tracepoint("sched_switch"),
            "descheduled time",
            "a kernel with BTF",
        ),
        tried(
            "sys_enter",
            lambda: features.has_tracepoint("sys_enter"),
            "time in system calls",
            "a kernel with BTF",
        ),
    ]
