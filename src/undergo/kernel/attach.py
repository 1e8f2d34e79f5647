"""Putting the probes in, and taking them out.

The path given to the kernel is our own open descriptor of the executable, so that what was verified is what is
probed, whatever happens to the file's name. Order: the kernel's tracepoints, the runtime's own sites, exits,
entries; only then are the programs told to be active.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from undergo.errors import KernelError, TargetError
from undergo.kernel.libbpf import create_uprobe_multi_link
from undergo.kernel.program import Program
from undergo.plan.probe_plan import ProbePlan, Role, Site, cookie, cookie_of

#: The BPF program of each role, in the order of attaching.
PROGRAM_OF_ROLE = {
    Role.RECOVERY: "recovery",
    Role.DEATH: "death",
    Role.PREEMPTION: "preemption",
    Role.TRANSITION: "transition",
    Role.INLINED_TRANSITION: "inlined_transition",
    Role.SYSCALL_TRANSITION: "inlined_transition",
    Role.BIRTH: "birth",
    Role.EXIT: "call_exit",
    Role.ENTRY: "call_entry",
}


#: Programs on the kernel's own tracepoints, by which clocks are kept. Every process pays for these a little.
TRACEPOINTS = ("switched", "syscall_left", "syscall_entered")


class Probes:
    """The attached probes of all executables; `detach` takes them out again."""

    def __init__(self, program: Program, *, uprobe_multi: bool = True) -> None:
        self._program = program
        self._multi = uprobe_multi
        self._links: list[int] = []
        self._singles: list[Any] = []

    def attach_tracepoints(self) -> None:
        """Attaches `TRACEPOINTS`. Raises KernelError if the kernel refuses."""
        for name in TRACEPOINTS:
            try:
                self._singles.append(self._program.attach_tracepoint(name))
            except OSError as error:
                raise KernelError(
                    f"the kernel refused the tracepoint program {name}: {error.strerror or error}",
                    "--no-split does without; `undergo doctor` shows what this kernel can do",
                ) from None

    def attach(self, plan: ProbePlan, descriptor: int) -> None:
        """Attaches a plan to the executable behind `descriptor`.

        Raises TargetError if the bytes at an address are not those that were planned for, KernelError if the
        kernel refuses.
        """
        path = f"/proc/self/fd/{descriptor}"
        order = list(PROGRAM_OF_ROLE)
        wanted = sorted(_probes(plan), key=lambda probe: order.index(probe[0]))
        for role, group in groupby(wanted, key=lambda probe: probe[0]):
            probes = [(site, value) for _, site, value in group]
            _verify(probes, descriptor)
            self._attach(PROGRAM_OF_ROLE[role], path, probes)

    def _attach(self, name: str, path: str, probes: list[tuple[Site, int]]) -> None:
        try:
            if self._multi:
                offsets, cookies = [site.offset for site, _ in probes], [value for _, value in probes]
                self._links.append(
                    create_uprobe_multi_link(self._program.program_fd(name), path, offsets, cookies)
                )
            else:
                for site, value in probes:
                    self._singles.append(self._program.attach_one(name, path, site.offset, value))
        except OSError as error:
            raise KernelError(
                f"the kernel refused {len(probes)} {name} probes: {error.strerror or error}",
                "`undergo doctor` shows what this kernel can do",
            ) from None

    def detach(self) -> None:
        """Takes every probe out; entries first, so that no call begins that could not end."""
        for link in reversed(self._links):
            with contextlib.suppress(OSError):
                os.close(link)
        for single in reversed(self._singles):
            self._program.detach_one(single)
        self._links.clear()
        self._singles.clear()


def _probes(plan: ProbePlan) -> Iterable[tuple[Role, Site, int]]:
    for runtime in plan.runtime:
        yield runtime.role, runtime.site, cookie_of(runtime, plan.executable)
    for function in plan.functions:
        yield Role.ENTRY, function.entry, cookie(function.id, plan.executable, function.entry)
        for site in function.exits:
            # a function that is one RET has its exit in its entry
            if site.address != function.entry.address:
                yield Role.EXIT, site, cookie(function.id, plan.executable, site)


def _verify(probes: list[tuple[Site, int]], descriptor: int) -> None:
    for site, _ in probes:
        if os.pread(descriptor, len(site.raw), site.offset) != site.raw:
            raise TargetError(
                f"the executable's bytes at {site.address:#x} are not those that were planned for",
                "the file was changed in place; restart the program, then trace it",
            )
