"""amd64 machine code as the planner needs it: where it returns, where it jumps, what it writes.

Facts about the kernel are from arch/x86/kernel/uprobes.c (Linux 5.15 to 6.18): `branch_setup_xol_ops` and
`push_setup_xol_ops` say what is emulated, `validate_insn_64bits` what is refused. arm64 has fixed words and
would be a module beside this one with the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from iced_x86 import (
    Code,
    Decoder,
    FlowControl,
    Formatter,
    FormatterSyntax,
    Instruction,
    InstructionInfoFactory,
    Mnemonic,
    OpAccess,
    OpKind,
    Register,
    RegisterExt,
)

HEAD_LIMIT: Final = 32  # instructions of a function's beginning that are kept for choosing a site

# The registers that matter before a site, as full registers (iced's numbers).
INTEGER_ARGUMENTS: Final = frozenset(
    {Register.RAX, Register.RBX, Register.RCX, Register.RDI, Register.RSI}
    | {Register.R8, Register.R9, Register.R10, Register.R11}
)  # in the order of Go's ABIInternal: AX BX CX DI SI R8 R9 R10 R11
# X0-X14; iced's "full register" of XMMn is ZMMn.
FLOAT_ARGUMENTS: Final = frozenset(range(Register.ZMM0, Register.ZMM0 + 15))
ARGUMENTS: Final = INTEGER_ARGUMENTS | FLOAT_ARGUMENTS

_WRITES: Final = frozenset(
    {OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
)
_BAD_PREFIXES: Final = frozenset(b"\x26\x2e\x36\x3e\xf0")
_PREFIXES: Final = frozenset(b"\x66\x67\xf2\xf3\x64\x65") | _BAD_PREFIXES
_BAD_OPCODES: Final = frozenset(
    bytes.fromhex("06070e16171e1f272f373f6061626c6d6e6f829acccdcecfd4d5d6e4e5e6e7eaecedeeeff1f4fafb")
)
_BAD_0F_OPCODES: Final = frozenset(
    bytes.fromhex("000102030405060708090a0b0c0e0f2021222324252627303233343536377879ff")
)
# Exactly the kernel's x86_nops[3..9] but the 5-byte one; Linux 6.18 emulates these, older kernels single-step.
# Linux 6.18 rewrites a probed 5-byte nop to a call of a trampoline that pushes 32 bytes on the goroutine's stack:
# a chain of nosplit functions has no such room.
_NOP5: Final = bytes.fromhex("0f1f440000")
_LONG_NOPS: Final = frozenset(
    bytes.fromhex(nop)
    for nop in (
        "0f1f00",
        "0f1f4000",
        "660f1f440000",
        "0f1f8000000000",
        "0f1f840000000000",
        "660f1f840000000000",
    )
)


class Emulation(IntEnum):
    """How the kernel gets past a probed instruction; lower costs less."""

    ALWAYS = 0  # one trap on every kernel undergo supports
    LONG_NOP = 1  # one trap from Linux 6.18 on, two before
    STEPPED = 2  # two traps
    REFUSED = 3  # must not be probed: refused, or accepted and never hit


@dataclass(frozen=True, slots=True)
class Exit:
    """An instruction by which control leaves a function: a RET or a jump out of it."""

    address: int
    length: int
    tail_jump: bool
    conditional: bool  # a conditional jump out of the function; only hand-written assembly has them


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over the code of a function found; addresses are link-time virtual addresses."""

    head: tuple[Instruction, ...]  # the first straight run, up to HEAD_LIMIT instructions
    returns: tuple[Exit, ...]
    jumps_out: tuple[Exit, ...]  # direct jumps out of the function and indirect jumps that use no jump table
    targets: frozenset[int]  # addresses inside the function that a direct branch of it goes to
    jump_table: bool  # there is an indirect jump through a table of this function
    end: int  # one past the last instruction decoded; before the function's end if bytes were not code


def decode(code: bytes, address: int) -> Iterator[Instruction]:
    """The instructions of `code`, which lies at `address`; stops at the first bytes that are not one."""
    for instruction in Decoder(64, code, ip=address):
        if instruction.code == Code.INVALID:
            return
        yield instruction


def scan(code: bytes, address: int) -> Scan:
    """Decode a whole function once. Go's assembler may put data among code: the scan ends where decoding fails."""
    stop = address + len(code)
    head: list[Instruction] = []
    returns: list[Exit] = []
    jumps_out: list[Exit] = []
    targets: set[int] = set()
    jump_table = False
    end = address
    keep = True
    instruction: Instruction | None = None
    # This loop is the planner's whole cost: the common case (next instruction, nothing to note) comes first.
    for instruction in Decoder(64, code, ip=address):
        flow = instruction.flow_control
        if keep:
            if instruction.code == Code.INVALID:
                return Scan(tuple(head), (), (), frozenset(targets), jump_table, instruction.ip)
            head.append(instruction)
            keep = len(head) < HEAD_LIMIT
        if flow == FlowControl.NEXT or flow == FlowControl.CALL:
            continue
        if flow == FlowControl.CONDITIONAL_BRANCH or flow == FlowControl.UNCONDITIONAL_BRANCH:
            conditional = flow == FlowControl.CONDITIONAL_BRANCH
            target = instruction.near_branch_target
            if address <= target < stop:
                targets.add(target)
            else:
                jumps_out.append(Exit(instruction.ip, instruction.len, True, conditional))
            keep = keep and conditional
        elif flow == FlowControl.RETURN:
            returns.append(Exit(instruction.ip, instruction.len, False, False))
            keep = False
        elif flow == FlowControl.INDIRECT_BRANCH:
            # Go's jump tables (1.19+) are `jmp (base)(index*8)`; a jump through a plain register or a field
            # of an object leaves the function.
            if instruction.op0_kind == OpKind.MEMORY and instruction.memory_index != Register.NONE:
                jump_table = True
            else:
                jumps_out.append(Exit(instruction.ip, instruction.len, True, False))
            keep = False
        elif instruction.code == Code.INVALID:
            end = instruction.ip
            break
    else:
        end = instruction.next_ip if instruction is not None else address
    return Scan(tuple(head), tuple(returns), tuple(jumps_out), frozenset(targets), jump_table, end)


def emulation(raw: bytes) -> Emulation:
    """How the kernel handles a uprobe on the instruction whose bytes are `raw`."""
    if raw == b"\xc3":
        return Emulation.STEPPED
    at = 0
    bad = operand16 = rep = False
    while at < len(raw) and raw[at] in _PREFIXES:
        bad = bad or raw[at] in _BAD_PREFIXES
        operand16 = operand16 or raw[at] == 0x66
        rep = rep or raw[at] in (0xF2, 0xF3)
        at += 1
    rex = raw[at] if at < len(raw) and raw[at] & 0xF0 == 0x40 else 0
    at += 1 if rex else 0
    if bad or at >= len(raw):
        return Emulation.REFUSED
    opcode = raw[at]
    if opcode == 0x0F:
        return _emulation_0f(raw, at + 1, operand16)
    if opcode in _BAD_OPCODES:
        return Emulation.REFUSED
    if opcode in (0xEB, 0xE9, 0xE8) or 0x70 <= opcode <= 0x7F:
        return Emulation.REFUSED if operand16 else Emulation.ALWAYS
    if opcode == 0x90 and not rex and not rep:  # with REX.B it is `xchg`, with F3 `pause`
        return Emulation.ALWAYS
    if 0x50 <= opcode <= 0x57 and at == (1 if rex else 0) and rex in (0, 0x41):
        return Emulation.ALWAYS
    return Emulation.STEPPED


def _emulation_0f(raw: bytes, at: int, operand16: bool) -> Emulation:
    if at >= len(raw) or raw[at] in _BAD_0F_OPCODES:
        return Emulation.REFUSED
    if raw == _NOP5:
        return Emulation.REFUSED
    if 0x80 <= raw[at] <= 0x8F:
        return Emulation.REFUSED if operand16 else Emulation.ALWAYS
    return Emulation.LONG_NOP if raw in _LONG_NOPS else Emulation.STEPPED


@dataclass(frozen=True, slots=True)
class Effects:
    """What one instruction writes."""

    registers: frozenset[int]  # full registers (iced's numbers)
    memory: tuple[tuple[int, int | None], ...]  # (base register, displacement; None if there is an index)


_factory = InstructionInfoFactory()


def effects(instruction: Instruction) -> Effects:
    """Registers and memory operands an instruction writes, implicit ones included; about 2 us."""
    info = _factory.info(instruction)
    registers = frozenset(
        RegisterExt.full_register(used.register) for used in info.used_registers() if used.access in _WRITES
    )
    memory = tuple(
        (used.base, _signed(used.displacement) if used.index == Register.NONE else None)
        for used in info.used_memory()
        if used.access in _WRITES
    )
    return Effects(registers, memory)


def _signed(displacement: int) -> int:
    return displacement - (1 << 64) if displacement >= 1 << 63 else displacement


_gas = Formatter(FormatterSyntax.GAS)
_gas.first_operand_char_index = 0
_gas.branch_leading_zeros = False
_gas.uppercase_hex = False


def text(instruction: Instruction) -> str:
    """The disassembly in the syntax of objdump."""
    return _gas.format(instruction)


def stack_growth(instruction: Instruction) -> int | None:
    """Bytes by which an instruction lowers SP (negative: raises it); None if that is not a constant."""
    if instruction.mnemonic in (Mnemonic.ADD, Mnemonic.SUB) and instruction.op0_register == Register.RSP:
        if instruction.op_count != 2 or instruction.op1_kind in (OpKind.REGISTER, OpKind.MEMORY):
            return None
        amount = _signed(instruction.immediate(1))
        return amount if instruction.mnemonic == Mnemonic.SUB else -amount
    if instruction.mnemonic == Mnemonic.LEA and instruction.op0_register == Register.RSP:
        if instruction.memory_base != Register.RSP or instruction.memory_index != Register.NONE:
            return None
        return -_signed(instruction.memory_displacement)
    if instruction.flow_control != FlowControl.NEXT:
        return 0  # a call pushes and its return pops
    if instruction.is_stack_instruction:
        if instruction.mnemonic == Mnemonic.LEAVE:
            return None
        return -instruction.stack_pointer_increment
    if instruction.op0_kind == OpKind.REGISTER and instruction.op0_register == Register.RSP:
        return 0 if instruction.mnemonic in (Mnemonic.CMP, Mnemonic.TEST) else None
    return 0
