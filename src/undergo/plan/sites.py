"""Which instruction of a function gets the probe, and why.

An entry site must run exactly once per call, before anything that holds an argument is overwritten, and should be
an instruction the kernel emulates. Measured: emulated 0.4-0.8 us per hit, single-stepped 16-30 us in a VM.

Prologues are those of cmd/internal/obj/x86/obj6.go (stacksplit, preprocess), Go 1.17 to 1.27:
    small frame    cmp 0x10(%r14),%rsp; jbe
    big frame      lea -N(%rsp),%r12; cmp 0x10(%r14),%r12; jbe
    huge frame     mov %rsp,%r12; sub $N,%r12; jb; cmp 0x10(%r14),%r12; jbe
    systemstack    the same with 0x18(%r14)
    assembly       mov %fs:-8,%rcx first, then 0x10(%rcx)
then `push %rbp` since 1.21, `sub $N,%rsp` before. The jbe goes to a block at the end that calls
runtime.morestack and jumps back to the entry, so everything up to the jbe can run again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from undergo.goexe import instructions
from undergo.goexe.function import Function
from undergo.goexe.instructions import ARGUMENTS, Emulation, Scan
from undergo.plan.probe_plan import CookieFlag, Issue, Site

if TYPE_CHECKING:
    from iced_x86 import Instruction

Ranges = Sequence[tuple[int, int, int]]  # pcsp: (start pc, end pc, bytes SP is below the return address)

_CHECK_REACH: Final = 8  # a stack check ends within this many instructions
_LARGEST_FRAME: Final = (1 << 16) - 8  # a cookie has 16 bits for the distance to the CFA
_PUSH_RBP: Final = b"\x55"
_GUARDS: Final = frozenset({0x10, 0x18})  # g.stackguard0, g.stackguard1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the probes of one function go. No entry: it cannot be traced, and an issue says why."""

    entry: Site | None
    exits: tuple[Site, ...]
    issues: tuple[Issue, ...]


def place(function: Function, code: bytes, pcsp: Ranges, offset: int) -> Placement:
    """Choose the sites of a function whose bytes are `code`, at `offset` in the file. Pure."""
    scan = instructions.scan(code, function.entry)
    view = FunctionView(function, code, pcsp, offset, scan)
    astray = _not_code(function, code, scan)
    if astray is not None:
        message = f"its bytes at +{astray - function.entry:#x} are not code: none of it is trusted"
        return Placement(None, (), (_issue(function, "unsupported", message),))
    entry, problems = choose_entry(view)
    if entry is None:
        return Placement(None, (), tuple(problems))
    if entry.flags & CookieFlag.BARE_RET:
        return Placement(entry, (), tuple(problems))
    exits, more = find_exits(view)
    return Placement(entry, exits, (*problems, *more))


def _not_code(function: Function, code: bytes, scan: Scan) -> int | None:
    """Where decoding one instruction after the other went astray; None if it did not.

    Hand-written assembly has data among its code (crypto/internal/boring/sig): it shows by bytes that are no
    instruction, or by a jump into the middle of what was taken for one. A probe there would corrupt the program.
    """
    if scan.end < function.entry + len(code):
        return scan.end
    if function.assembly and scan.targets:
        starts = {instruction.ip for instruction in instructions.decode(code, function.entry)}
        return min(scan.targets - starts, default=None)
    return None


@dataclass(frozen=True, slots=True)
class FunctionView:
    """One function with everything that is known about its code."""

    function: Function
    code: bytes
    pcsp: Ranges
    offset: int
    scan: Scan

    def raw(self, address: int, length: int) -> bytes:
        """The bytes of an instruction."""
        at = address - self.function.entry
        return self.code[at : at + length]

    def delta(self, address: int) -> int | None:
        """Bytes by which SP is below the return address before the instruction at `address`; None if unknown."""
        ranges = self.pcsp
        at = bisect_right(ranges, address, key=_start) - 1
        if at < 0 or address >= ranges[at][1]:
            return None
        return ranges[at][2]

    def site(self, instruction: Instruction, sp_to_cfa: int, flags: CookieFlag, why: str) -> Site:
        """A site at an instruction of this function."""
        address = instruction.ip
        raw = self.raw(address, instruction.len)
        if self.function.assembly:
            flags |= CookieFlag.G_FROM_TLS
        return Site(
            address=address,
            offset=self.offset + address - self.function.entry,
            raw=raw,
            text=instructions.text(instruction),
            sp_to_cfa=sp_to_cfa,
            emulated=instructions.emulation(raw) < Emulation.STEPPED,
            flags=flags,
            why=why,
        )


def _start(row: tuple[int, int, int]) -> int:
    return row[0]


def stack_check(head: Sequence[Instruction]) -> int | None:
    """Index in `head` of the jbe that ends the stack check, None if there is no check."""
    from iced_x86 import FlowControl, Mnemonic, OpKind, Register

    from_sp = {Register.RSP}
    for at, instruction in enumerate(head[:_CHECK_REACH]):
        mnemonic = instruction.mnemonic
        if mnemonic == Mnemonic.JBE:
            compare = head[at - 1] if at else None
            if (
                compare is not None
                and compare.mnemonic == Mnemonic.CMP
                and compare.op0_kind == OpKind.REGISTER
                and compare.op0_register in from_sp
                and compare.op1_kind == OpKind.MEMORY
                and compare.memory_displacement in _GUARDS
                and compare.memory_index == Register.NONE
            ):
                return at
            return None
        if mnemonic == Mnemonic.LEA and instruction.memory_base == Register.RSP:
            from_sp.add(instruction.op0_register)
        elif mnemonic == Mnemonic.MOV and instruction.op1_kind == OpKind.REGISTER:
            if instruction.op1_register == Register.RSP:
                from_sp.add(instruction.op0_register)
        elif mnemonic in (Mnemonic.PUSH, Mnemonic.SUB) and Register.RSP in (
            instruction.op0_register,
            Register.RSP if mnemonic == Mnemonic.PUSH else Register.NONE,
        ):
            return None  # a frame without a check
        elif instruction.flow_control != FlowControl.NEXT and mnemonic != Mnemonic.JB:
            return None
    return None


def choose_entry(view: FunctionView) -> tuple[Site | None, list[Issue]]:
    """The entry site of a function, and what there is to say about it."""
    from iced_x86 import FlowControl

    head = view.scan.head
    function = view.function
    if not head:
        return None, [_issue(function, "unsupported", "it has no code that can be decoded")]
    leaves = {exit.address for exit in view.scan.returns} | {exit.address for exit in view.scan.jumps_out}
    if head[0].ip in leaves and head[0].flow_control != FlowControl.CONDITIONAL_BRANCH:
        if instructions.emulation(view.raw(head[0].ip, head[0].len)) == Emulation.REFUSED:
            return None, [
                _issue(function, "unsupported", f"the kernel cannot probe {instructions.text(head[0])}")
            ]
        what = "ret" if view.scan.returns else "jump"
        return view.site(head[0], 8, CookieFlag.BARE_RET, f"a single {what}: entered and left here"), []
    check = stack_check(head)
    if check is None:
        return _without_check(view, 0, leaves)
    after = head[check + 1] if check + 1 < len(head) else None
    if (
        after is not None
        and view.raw(after.ip, after.len) == _PUSH_RBP
        and after.ip not in view.scan.targets
        and view.delta(after.ip) in (0, None)
    ):
        why = "push %rbp after the stack check: emulated, runs once per call"
        return view.site(after, 8, CookieFlag.NONE, why), []
    if view.delta(head[check].ip) in (0, None):
        why = "the jump of the stack check: emulated; retries are told by their flags"
        return view.site(head[check], 8, CookieFlag.RETRY_CHECK, why), []
    return _without_check(view, check + 1, leaves)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """An instruction that could be the entry site; the smallest one is the best."""

    repeats: bool  # something in the function branches back to it
    arguments_lost: bool  # something that may hold an argument, or g, was overwritten before it
    emulation: Emulation
    spilled: bool  # argument registers were stored in the caller's part of the stack before it
    context_lost: bool  # RDX, the closure's context, was overwritten before it
    index: int  # position in the function
    sp_to_cfa: int


def _without_check(view: FunctionView, start: int, leaves: set[int]) -> tuple[Site | None, list[Issue]]:
    best = min(candidates(view, start, leaves), default=None)
    function = view.function
    if best is None:
        return None, [_issue(function, "unsupported", "no instruction at its beginning can be probed")]
    if best.repeats:
        message = "its beginning is the head of a loop: every turn would look like a call"
        return None, [_issue(function, "unsupported", message)]
    instruction = view.scan.head[best.index]
    cost = "single-stepped" if best.emulation == Emulation.STEPPED else "emulated"
    if best.emulation == Emulation.LONG_NOP:
        cost = "emulated from Linux 6.18 on"
    place = "first instruction" if best.index == 0 else "in the first block"
    if view.raw(instruction.ip, instruction.len) == _PUSH_RBP:
        place = "push %rbp, " + place
    caveat = ", after argument registers were overwritten" if best.arguments_lost else ""
    why = f"{place}, no stack check{caveat}: {cost}, runs once per call"
    return view.site(instruction, best.sp_to_cfa, CookieFlag.NONE, why), []


def candidates(view: FunctionView, start: int, leaves: set[int]) -> list[Candidate]:
    """Every instruction of the first block from index `start` on that the kernel can probe."""
    from iced_x86 import FlowControl, Register

    head = view.scan.head
    if start >= len(head):
        return []
    region = head[start].ip
    looped = min((target for target in view.scan.targets if target >= region), default=None)
    grown: int | None = 0
    arguments_lost = spilled = context_lost = False
    found: list[Candidate] = []
    for index in range(start, len(head)):
        instruction = head[index]
        flow = instruction.flow_control
        if flow in (FlowControl.RETURN, FlowControl.INDIRECT_BRANCH):
            break
        sp_to_cfa = _sp_to_cfa(view, instruction.ip, grown)
        kind = instructions.emulation(view.raw(instruction.ip, instruction.len))
        if kind != Emulation.REFUSED and sp_to_cfa is not None and instruction.ip not in leaves:
            repeats = looped is not None and looped <= instruction.ip
            found.append(Candidate(repeats, arguments_lost, kind, spilled, context_lost, index, sp_to_cfa))
            if kind == Emulation.ALWAYS and not (repeats or arguments_lost or spilled or context_lost):
                break  # nothing later can be better
        if flow != FlowControl.NEXT or (arguments_lost and found):
            break
        effects = instructions.effects(instruction)
        arguments_lost = (
            arguments_lost or bool(effects.registers & ARGUMENTS) or Register.R14 in effects.registers
        )
        context_lost = context_lost or Register.RDX in effects.registers
        for base, displacement in effects.memory:
            if base != Register.RSP or sp_to_cfa is None or displacement is None:
                continue
            if instruction.is_stack_instruction or displacement < sp_to_cfa:
                continue
            if _stores_argument(instruction):
                spilled = True
            else:
                arguments_lost = True
        growth = instructions.stack_growth(instruction)
        grown = None if grown is None or growth is None else grown + growth
    return found


def _sp_to_cfa(view: FunctionView, address: int, grown: int | None) -> int | None:
    """Bytes from SP to the CFA, by pclntab and by adding up what the instructions did; None if these differ.

    The assembler's pcsp misses SP changes it does not understand: in assembly the instructions are right.
    """
    delta = view.delta(address)
    if delta is None or view.function.assembly:
        below = grown
    else:
        below = delta if grown in (delta, None) else None
    return below + 8 if below is not None and 0 <= below < _LARGEST_FRAME else None


def _stores_argument(instruction: Instruction) -> bool:
    from iced_x86 import OpKind, RegisterExt

    return (
        instruction.op1_kind == OpKind.REGISTER
        and RegisterExt.full_register(instruction.op1_register) in ARGUMENTS
    )


def find_exits(view: FunctionView) -> tuple[tuple[Site, ...], list[Issue]]:
    """A site at every instruction by which the function is left, in the order of addresses."""
    function, scan = view.function, view.scan
    issues: list[Issue] = []
    sites: list[Site] = []
    conditional = 0
    for exit in sorted((*scan.returns, *scan.jumps_out), key=lambda exit: exit.address):
        delta = view.delta(exit.address)
        raw = view.raw(exit.address, exit.length)
        if exit.tail_jump and delta not in (0, None):
            continue  # the frame is still there: a jump within assembly that shares its body
        if exit.conditional:
            conditional += 1
            continue
        if delta not in (0, None) and not function.assembly:
            message = f"the ret at +{exit.address - function.entry:#x} is {delta} bytes off: not probed"
            issues.append(_issue(function, "unsupported", message))
            continue
        if instructions.emulation(raw) == Emulation.REFUSED:
            message = f"the kernel cannot probe its exit at +{exit.address - function.entry:#x}"
            issues.append(_issue(function, "unsupported", message))
            continue
        sites.append(_exit_site(view, exit, raw))
    if conditional:
        message = f"{conditional} conditional jumps leave it: such a call ends with its caller's next event"
        issues.append(_issue(function, "assembly", message))
    if not sites and not issues:
        issues.append(
            _issue(function, "no exit", "it never returns: a call ends by panic, goexit or not at all")
        )
    return tuple(sites), issues


def _exit_site(view: FunctionView, exit: instructions.Exit, raw: bytes) -> Site:
    flags = CookieFlag.G_FROM_TLS if view.function.assembly else CookieFlag.NONE
    if raw == b"\xc3":
        text, why = "ret", "ret"
    else:
        text = instructions.text(next(instructions.decode(raw, exit.address)))
        why = "tail jump out of the function" if exit.tail_jump else "ret"
    return Site(
        address=exit.address,
        offset=view.offset + exit.address - view.function.entry,
        raw=raw,
        text=text,
        sp_to_cfa=8,
        emulated=instructions.emulation(raw) < Emulation.STEPPED,
        flags=flags,
        why=why,
    )


def _issue(function: Function, kind: str, message: str) -> Issue:
    return Issue(function.name, kind, message)
