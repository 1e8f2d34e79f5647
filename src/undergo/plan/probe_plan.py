"""The plan: every address to be probed, what is there, and why. A frozen value, made without a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, StrEnum

from undergo.goexe.function import Function


class CookieFlag(IntFlag):
    """Bits 48-63 of an attach cookie; the same names stand in bpf/undergo.h."""

    NONE = 0
    RETRY_CHECK = (
        1 << 0
    )  # site is the stack check's own jbe: with CF or ZF set the hit is a retry, not a call
    G_FROM_TLS = 1 << 1  # g is not in its register here: read it from thread-local storage
    BARE_RET = 1 << 2  # the function is a single RET: its entry is its exit


class Role(StrEnum):
    """What a probe is for; one BPF program and one link per role and executable."""

    ENTRY = "entry"
    EXIT = "exit"
    RECOVERY = "recovery"  # runtime.recovery, at its `call gogo`
    DEATH = "death"  # runtime.goexit0, a goroutine ends
    PREEMPTION = "preemption"  # runtime.preemptPark, which bypasses casgstatus
    TRANSITION = "transition"  # runtime.casgstatus
    INLINED_TRANSITION = "inlined transition"  # an inlined CAS of atomicstatus
    SYSCALL_TRANSITION = (
        "system call transition"  # the same where system calls are announced, Go 1.26 and later
    )
    BIRTH = "birth"  # runtime.newproc1, once the new g has its goid


@dataclass(frozen=True, slots=True)
class Site:
    """One address to probe."""

    address: int  # link-time virtual address
    offset: int  # offset in the file
    raw: bytes  # the whole instruction; read again and compared just before attaching
    text: str  # its disassembly
    sp_to_cfa: int  # bytes from SP at this instruction up to the CFA (8 right at a function's start)
    emulated: bool  # the kernel emulates it (one trap) rather than single-stepping it (two)
    flags: CookieFlag
    why: str  # why this instruction was chosen, for people


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """One function to trace. `id` is unique in the whole session, across executables."""

    id: int
    function: Function
    entry: Site
    exits: tuple[Site, ...]  # empty: it never returns


@dataclass(frozen=True, slots=True)
class CasRegisters:
    """Where an INLINED_TRANSITION site has its operands: hardware register numbers (amd64: RAX 0 ... R15 15).

    The site is the conditional jump after the compare-and-swap: it succeeded if ZF is 0; old is in EAX.
    """

    gp: int
    new: int | None  # None: overwritten since; read g.atomicstatus instead


@dataclass(frozen=True, slots=True)
class RuntimeSite:
    """A probe in the runtime itself, on which the bookkeeping of frames and states relies."""

    role: Role
    function: Function
    site: Site
    registers: CasRegisters | None = None  # INLINED_TRANSITION, SYSCALL_TRANSITION; BIRTH: gp alone
    #: TRANSITION up to Go 1.19: addresses [low, high) of the one caller that has written g.waitreason before
    truthful_caller: tuple[int, int] | None = None
    number: int = 0  # BIRTH: which of the executable's


@dataclass(frozen=True, slots=True)
class Issue:
    """A probe that could not be placed, or is placed with a caveat; the others go on."""

    func: str
    kind: str  # "inlined" | "no body" | "assembly" | "unsupported" | "partly inlined" | "no exit" | ...
    message: str


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """What to attach in one executable."""

    executable: int  # index of the executable in the session, goes into every cookie
    functions: tuple[FunctionPlan, ...]
    runtime: tuple[RuntimeSite, ...]
    issues: tuple[Issue, ...]

    @property
    def probes(self) -> int:
        """Number of addresses that get a probe."""
        return len(self.runtime) + sum(1 + len(f.exits) for f in self.functions)


def cookie_of(runtime: RuntimeSite, executable: int) -> int:
    """The attach cookie of a site in the runtime: in place of a function, its operands' registers or its number."""
    operands = runtime.number << 12
    if runtime.registers is not None:
        new = runtime.registers.new
        operands |= runtime.registers.gp | (1 << 8 if new is None else new << 4)
    return cookie(operands, executable, runtime.site)


def cookie(function: int, executable: int, site: Site) -> int:
    """The 64-bit attach cookie of a site: function (24 bits), executable (8), sp_to_cfa (16), flags (16)."""
    if not (0 <= function < 1 << 24 and 0 <= executable < 1 << 8 and 0 <= site.sp_to_cfa < 1 << 16):
        raise ValueError(f"does not fit a cookie: {function=} {executable=} {site.sp_to_cfa=}")
    return function | executable << 24 | site.sp_to_cfa << 32 | int(site.flags) << 48
