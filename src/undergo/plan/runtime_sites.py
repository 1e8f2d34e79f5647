"""The probes in the runtime itself, by which frames and goroutine states are kept.

Facts of runtime/proc.go, panic.go and asm_amd64.s, Go 1.17 to 1.27:
    recovery     never returns; it leaves by calling gogo with the recovering frame's SP in g.sched
    goexit0(gp)  runs on g0 when a goroutine is done
    casgstatus   (gp, old, new) in AX, BX, CX; PGO and iter.Pull have copies of its CAS elsewhere
    preemptPark  (gp) changes the status by itself
    newproc1     gives the new g its goid when all else is there; its caller puts it into a queue
    reentersyscall, exitsyscall  call casgstatus up to 1.25; clocks take system calls from the kernel instead
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from undergo.goexe import instructions
from undergo.goexe.function import Function
from undergo.goexe.instructions import Emulation
from undergo.plan.probe_plan import CasRegisters, CookieFlag, Issue, Role, RuntimeSite, Site
from undergo.plan.sites import FunctionView, place

if TYPE_CHECKING:
    from iced_x86 import Instruction

    from undergo.goexe.executable import GoExecutable

# Their compare-and-swap is no transition of a running goroutine (scan bit, preemption), or is seen by another probe
# (casgstatus itself).
_SKIPPED: Final = frozenset(
    "runtime." + name
    for name in (
        "casgstatus",
        "casfrom_Gscanstatus",
        "castogscanstatus",
        "casGToPreemptScan",
        "casGFromPreempted",
        "allGsSnapshotSortedForGC",
    )
)
_REACH: Final = 8  # instructions between the compare-and-swap and its conditional jump
_AT_ENTRY: Final = {
    Role.DEATH: "runtime.goexit0",
    Role.PREEMPTION: "runtime.preemptPark",
    Role.TRANSITION: "runtime.casgstatus",
}
_SYSCALLS: Final = frozenset({"runtime.reentersyscall", "runtime.exitsyscall"})
_REASON_ALWAYS_WRITTEN: Final = (1, 20)  # from then on every caller writes g.waitreason before the transition


def runtime_sites(executable: GoExecutable, roles: Collection[Role]) -> tuple[list[RuntimeSite], list[Issue]]:
    """The sites of the wanted roles, in the order of `Role`; what could not be found is an issue."""
    sites: list[RuntimeSite] = []
    issues: list[Issue] = []
    for role in Role:
        if role not in roles:
            continue
        if role in _AT_ENTRY:
            found, why = _at_entry(executable, role, _AT_ENTRY[role])
        elif role == Role.RECOVERY:
            found, why = _recovery(executable)
        elif role == Role.BIRTH:
            found, why = _births(executable)
        elif role in (Role.INLINED_TRANSITION, Role.SYSCALL_TRANSITION):
            found, why = _inlined_transitions(executable, role)
        else:
            continue
        sites += found
        issues += why
    return sites, issues


def _at_entry(executable: GoExecutable, role: Role, name: str) -> tuple[list[RuntimeSite], list[Issue]]:
    function = executable.functions.named(name)
    if function is None:
        return [], [Issue(name, "runtime", "there is no such function: what it would show is missing")]
    code, pcsp = executable.code(function), executable.functions.pcsp(function)
    placement = place(function, code, pcsp, executable.file_offset(function.entry))
    if placement.entry is None:
        return [], list(placement.issues)
    caller = None
    if role == Role.TRANSITION and executable.build.version < _REASON_ALWAYS_WRITTEN:
        park = executable.functions.named("runtime.park_m")
        caller = (park.entry, park.end) if park is not None else (0, 0)
    return [RuntimeSite(role, function, placement.entry, truthful_caller=caller)], []


def _recovery(executable: GoExecutable) -> tuple[list[RuntimeSite], list[Issue]]:
    name = "runtime.recovery"
    function = executable.functions.named(name)
    gogo = {executable.functions[row].entry for row in executable.functions.rows_named("runtime.gogo")}
    sites: list[RuntimeSite] = []
    if function is not None:
        view = _view(executable, function)
        for instruction in instructions.decode(view.code, function.entry):
            if instruction.is_call_near and instruction.near_branch_target in gogo:
                delta = view.delta(instruction.ip)
                why = "the call of gogo: emulated, the recovering frame's SP is in g.sched"
                site = view.site(instruction, 8 + (delta or 0), CookieFlag.NONE, why)
                sites.append(RuntimeSite(Role.RECOVERY, function, site))
    if not sites:
        return [], [
            Issue(name, "runtime", "its call of gogo was not found: recovered calls end with a later event")
        ]
    return sites, []


def _births(executable: GoExecutable) -> tuple[list[RuntimeSite], list[Issue]]:
    """Right after the goid is stored, if something emulated follows there, for births are many; else at the RET."""
    name = "runtime.newproc1"
    function = executable.functions.named(name)
    if function is None:
        return [], [Issue(name, "runtime", "there is no such function: births are not seen")]
    view = _view(executable, function)
    sites = [
        RuntimeSite(Role.BIRTH, function, site, CasRegisters(gp, None), number=number)
        for number, (site, gp) in enumerate(_after_goid(executable, view))
    ]
    if sites:
        return sites, []
    code, pcsp = executable.code(function), executable.functions.pcsp(function)
    placement = place(function, code, pcsp, executable.file_offset(function.entry))
    result = CasRegisters(0, None)  # in AX
    sites = [RuntimeSite(Role.BIRTH, function, s, result, number=n) for n, s in enumerate(placement.exits)]
    return sites, [] if sites else list(placement.issues)


def _after_goid(executable: GoExecutable, view: FunctionView) -> Iterator[tuple[Site, int]]:
    """The first emulated instruction after each store to g.goid, and the number of the register that holds g."""
    from iced_x86 import Code, FlowControl, Register, RegisterExt

    code = view.code
    targets = instructions.scan(code, view.function.entry).targets
    base = Register.NONE
    for instruction in instructions.decode(code, view.function.entry):
        if instruction.ip in targets:
            base = Register.NONE  # something else may lead here
        if base != Register.NONE:
            if instructions.emulation(view.raw(instruction.ip, instruction.len)) == Emulation.ALWAYS:
                why = "after the new g has its goid: emulated"
                delta = view.delta(instruction.ip) or 0
                yield view.site(instruction, 8 + delta, CookieFlag.NONE, why), RegisterExt.number(base)
                base = Register.NONE
            elif (
                instruction.flow_control != FlowControl.NEXT
                or base in instructions.effects(instruction).registers
            ):
                base = Register.NONE
        if (
            instruction.code == Code.MOV_RM64_R64
            and instruction.memory_displacement == executable.layout.g_goid
            and instruction.memory_base not in (Register.NONE, Register.RSP)
            and instruction.memory_index == Register.NONE
        ):
            base = instruction.memory_base


def _inlined_transitions(executable: GoExecutable, role: Role) -> tuple[list[RuntimeSite], list[Issue]]:
    sites: list[RuntimeSite] = []
    issues: list[Issue] = []
    for function, address in cas_sites(executable):
        if function.name in _SKIPPED or (function.name in _SYSCALLS) != (role == Role.SYSCALL_TRANSITION):
            continue
        view = _view(executable, function)
        found = _jump_after(view, address)
        if found is None:
            message = (
                f"the compare-and-swap at +{address - function.entry:#x} is of a shape not known: not probed"
            )
            issues.append(Issue(function.name, "runtime", message))
            continue
        jump, registers = found
        why = "the jump after a compare-and-swap of atomicstatus: emulated"
        site = view.site(jump, 8 + (view.delta(jump.ip) or 0), CookieFlag.NONE, why)
        sites.append(RuntimeSite(role, function, site, registers))
    return sites, issues


def cas_sites(executable: GoExecutable) -> Iterator[tuple[Function, int]]:
    """Every `lock cmpxchg` of g.atomicstatus in package runtime, by address: (function, address of the instruction).

    Found by its bytes, F0 [REX] 0F B1 modrm disp32; the caller decodes the function to be sure.
    """
    functions = executable.functions
    rows = functions.select(_in_runtime)
    if not rows:
        return
    offset = executable.layout.g_atomicstatus.to_bytes(4, "little")
    shape = re.compile(
        rb"\xf0[\x40-\x4f]?\x0f\xb1(?:[\x80-\x83\x85-\x8b\x8d-\x93\x95-\x9b\x9d-\xa3\xa5-\xab\xad-\xb3\xb5-\xbb\xbd-\xbf]"
        rb"|[\x84\x8c\x94\x9c\xa4\xac\xb4\xbc].)" + re.escape(offset),
        re.DOTALL,
    )
    # One read of the stretch that holds the package: the linker lays packages out one after the other.
    first = functions[rows[0]]
    last = functions[rows[-1]]
    text = executable.elf.read(first.entry, last.end - first.entry)
    for match in shape.finditer(text):
        address = first.entry + match.start()
        function = functions.find(address)
        if function is not None and _in_runtime(function.name):
            yield function, address


def _in_runtime(name: str) -> bool:
    return name.startswith("runtime.")


def _jump_after(view: FunctionView, address: int) -> tuple[Instruction, CasRegisters] | None:
    """The conditional jump that acts on the result of the compare-and-swap at `address`, and its operands.

    The compiler writes `lock cmpxchg; sete r; test r,r; jcc`, with nops and moves among them.
    """
    from iced_x86 import FlowControl, Mnemonic, Register, RegisterExt

    stream = instructions.decode(view.code, view.function.entry)
    cas = next((instruction for instruction in stream if instruction.ip >= address), None)
    if cas is None or cas.ip != address or cas.mnemonic != Mnemonic.CMPXCHG:
        return None
    gp = cas.memory_base
    new = RegisterExt.full_register(cas.op1_register)
    result = Register.NONE
    tested = False
    lost: set[int] = set()
    for _, instruction in zip(range(_REACH), stream, strict=False):
        if instruction.flow_control == FlowControl.CONDITIONAL_BRANCH:
            raw = view.raw(instruction.ip, instruction.len)
            if instruction.mnemonic not in (Mnemonic.JE, Mnemonic.JNE) or not tested:
                return None
            if lost & {gp, Register.RAX} or instructions.emulation(raw) != Emulation.ALWAYS:
                return None
            known = None if new in lost else RegisterExt.number(new)
            return instruction, CasRegisters(RegisterExt.number(gp), known)
        if instruction.flow_control != FlowControl.NEXT:
            return None
        if instruction.mnemonic == Mnemonic.SETE:
            result = instruction.op0_register
        elif instruction.mnemonic == Mnemonic.TEST:
            tested = (
                result != Register.NONE and instruction.op0_register == instruction.op1_register == result
            )
        lost |= instructions.effects(instruction).registers
    return None


def _view(executable: GoExecutable, function: Function) -> FunctionView:
    code = executable.code(function)
    pcsp = executable.functions.pcsp(function)
    scan = instructions.scan(b"", function.entry)  # entries and exits are not asked for
    return FunctionView(function, code, pcsp, executable.file_offset(function.entry), scan)
