"""Decoding, and what the kernel does with an instruction (arch/x86/kernel/uprobes.c)."""

from __future__ import annotations

import pytest
from iced_x86 import Register

from undergo.goexe import instructions
from undergo.goexe.instructions import Emulation, Exit


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("55", Emulation.ALWAYS),  # push %rbp
        ("4155", Emulation.ALWAYS),  # push %r13
        ("4855", Emulation.STEPPED),  # push %rbp with a REX the kernel does not know
        ("90", Emulation.ALWAYS),
        ("6690", Emulation.ALWAYS),
        ("4190", Emulation.STEPPED),  # xchg %eax,%r8d: no nop
        ("f390", Emulation.STEPPED),  # pause
        ("eb02", Emulation.ALWAYS),
        ("e900000000", Emulation.ALWAYS),
        ("e800000000", Emulation.ALWAYS),
        ("7602", Emulation.ALWAYS),
        ("0f8600000000", Emulation.ALWAYS),
        ("667602", Emulation.REFUSED),  # a branch with an operand-size prefix
        ("660f8600000000", Emulation.REFUSED),
        ("0f1f00", Emulation.LONG_NOP),
        ("660f1f840000000000", Emulation.LONG_NOP),
        ("0f1f440001", Emulation.STEPPED),  # a nop that is not one of the kernel's
        ("0f1f440000", Emulation.REFUSED),  # rewritten to a call that needs stack
        ("ffd0", Emulation.STEPPED),  # call *%rax
        ("ffe0", Emulation.STEPPED),  # jmp *%rax
        ("e2fe", Emulation.STEPPED),  # loop
        ("c3", Emulation.STEPPED),
        ("4883ec18", Emulation.STEPPED),
        ("c5f877", Emulation.STEPPED),  # vzeroupper (VEX)
        ("f00fb18b90000000", Emulation.REFUSED),  # lock cmpxchg
        ("62f17c4810c0", Emulation.REFUSED),  # EVEX
        ("2e90", Emulation.REFUSED),
        ("cc", Emulation.REFUSED),
        ("0f0b", Emulation.REFUSED),
        ("0f05", Emulation.REFUSED),
        ("f4", Emulation.REFUSED),
        ("", Emulation.REFUSED),
        ("66", Emulation.REFUSED),
        ("0f", Emulation.REFUSED),
    ],
)
def test_emulation(raw: str, expected: Emulation) -> None:
    """The kernel's rules, one instruction each."""
    assert expected == instructions.emulation(bytes.fromhex(raw))


def test_scan_finds_exits_and_targets() -> None:
    """RETs, tail jumps and branch targets are found; jumps inside the function are no exits."""
    # 0 test %rax,%rax; 3 je 8; 5 inc %eax; 7 ret; 8 jmp 0x2000; d jmp 0
    code = bytes.fromhex("4885c0 7403 ffc0 c3 e9f30f0000 ebf1")
    scan = instructions.scan(code, 0x1000)
    assert (Exit(0x1007, 1, False, False),) == scan.returns
    assert (Exit(0x1008, 5, True, False),) == scan.jumps_out
    assert {0x1008, 0x1000} == scan.targets
    assert 0x100F == scan.end
    assert [0x1000, 0x1003, 0x1005, 0x1007] == [instruction.ip for instruction in scan.head]


def test_jump_table_is_no_exit() -> None:
    """`jmp (base)(index*8)` is a switch; `jmp *%rdx` and `jmp *0x18(%rdx)` leave the function."""
    table = instructions.scan(bytes.fromhex("ff24c1"), 0)
    assert table.jump_table
    assert () == table.jumps_out
    for code in ("ffe2", "ff6218"):
        scan = instructions.scan(bytes.fromhex(code), 0)
        assert not scan.jump_table
        assert (Exit(0, len(code) // 2, True, False),) == scan.jumps_out


def test_scan_stops_at_data() -> None:
    """Bytes that are no instruction end the scan, and `end` says where."""
    scan = instructions.scan(bytes.fromhex("c3 06 c3"), 0x10)
    assert 0x11 == scan.end
    assert (Exit(0x10, 1, False, False),) == scan.returns


def test_scan_of_nothing() -> None:
    """No bytes: nothing found, no error."""
    scan = instructions.scan(b"", 0x10)
    assert (0x10, (), ()) == (scan.end, scan.head, scan.returns)


def test_bad_first_bytes() -> None:
    """A function whose first bytes are no instruction has no head and ends where it begins."""
    scan = instructions.scan(b"\x06\xc3", 0x10)
    assert (0x10, ()) == (scan.end, scan.head)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("4883ec18", 0x18),  # sub $0x18,%rsp
        ("4883ec80", -0x80),  # sub $-0x80,%rsp
        ("4883c418", -0x18),  # add $0x18,%rsp
        ("488d6424e8", 0x18),  # lea -0x18(%rsp),%rsp
        ("55", 8),
        ("5d", -8),
        ("4829c4", None),  # sub %rax,%rsp
        ("4883e4f0", None),  # and $-16,%rsp
        ("488b6338", None),  # mov 0x38(%rbx),%rsp
        ("488b442408", 0),  # mov 8(%rsp),%rax
        ("493b6610", 0),  # cmp 0x10(%r14),%rsp
        ("e800000000", 0),
    ],
)
def test_stack_growth(raw: str, expected: int | None) -> None:
    """What an instruction does to SP, where it is a constant."""
    (instruction,) = instructions.decode(bytes.fromhex(raw), 0)
    assert expected == instructions.stack_growth(instruction)


def test_effects() -> None:
    """Partial registers count whole, implicit writes count, memory comes with its displacement."""
    (load,) = instructions.decode(bytes.fromhex("b001"), 0)  # mov $1,%al
    assert {Register.RAX} == instructions.effects(load).registers
    (multiply,) = instructions.decode(bytes.fromhex("48f7e3"), 0)  # mul %rbx
    assert {Register.RAX, Register.RDX} == instructions.effects(multiply).registers
    (zero,) = instructions.decode(bytes.fromhex("0f57c0"), 0)  # xorps %xmm0,%xmm0
    assert instructions.FLOAT_ARGUMENTS & instructions.effects(zero).registers
    (store,) = instructions.decode(bytes.fromhex("48894424f8"), 0)  # mov %rax,-8(%rsp)
    assert ((Register.RSP, -8),) == instructions.effects(store).memory


def test_text_is_like_objdump() -> None:
    """Disassembly is AT&T syntax."""
    (instruction,) = instructions.decode(bytes.fromhex("493b6610"), 0)
    assert "cmp 0x10(%r14),%rsp" == instructions.text(instruction)
