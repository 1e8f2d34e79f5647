"""Where the probes of one function go: tiny functions, one for each kind of beginning and end."""

from __future__ import annotations

import pytest

from undergo.goexe.function import Function
from undergo.plan.probe_plan import CookieFlag
from undergo.plan.sites import Placement, Ranges, place

ENTRY = 0x401000
OFFSET = 0x1000
CHECK = "493b6610 760f"  # cmp 0x10(%r14),%rsp; jbe +15
BIG_CHECK = "4c8da42448ffffff 4d3b6610 760f"  # lea -0xb8(%rsp),%r12; cmp 0x10(%r14),%r12; jbe
HUGE_CHECK = "4989e4 4981ec00100100 721a 4d3b6610 760f"  # mov; sub $0x11000,%r12; jb; cmp; jbe


def placed(code: str, pcsp: Ranges = (), *, assembly: bool = False) -> Placement:
    """Place the probes of a function of these bytes."""
    raw = bytes.fromhex(code)
    function = Function(
        0, "main.f", ENTRY, ENTRY + len(raw), "/m.s" if assembly else "/m.go", 1, 0, False, assembly
    )
    return place(function, raw, pcsp, OFFSET)


def at(code: str, *deltas: tuple[int, int]) -> tuple[str, Ranges]:
    """A function and its pcsp given as (from offset, delta)."""
    ends = [start for start, _ in deltas[1:]] + [len(bytes.fromhex(code))]
    return code, [
        (ENTRY + start, ENTRY + end, delta) for (start, delta), end in zip(deltas, ends, strict=True)
    ]


def entry(placement: Placement) -> tuple[int, int, bool, CookieFlag]:
    """What is to be checked of an entry site: offset in the function, sp_to_cfa, emulated, flags."""
    assert placement.entry is not None
    site = placement.entry
    assert site.offset - OFFSET == site.address - ENTRY
    return site.address - ENTRY, site.sp_to_cfa, site.emulated, site.flags


@pytest.mark.parametrize("check", [CHECK, BIG_CHECK, HUGE_CHECK, CHECK.replace("6610", "6618")])
def test_push_after_check(check: str) -> None:
    """Go >= 1.21: push %rbp right after the check, whatever the check's form."""
    size = len(bytes.fromhex(check))
    placement = placed(*at(check + "55 4889e5 c3", (0, 0), (size + 1, 8), (size + 4, 0)))
    assert (size, 8, True, CookieFlag.NONE) == entry(placement)
    assert placement.entry is not None
    assert "push %rbp" == placement.entry.text
    assert b"\x55" == placement.entry.raw
    assert [ENTRY + size + 4] == [site.address for site in placement.exits]


@pytest.mark.parametrize("check", [CHECK, BIG_CHECK, HUGE_CHECK])
def test_check_jump_before_1_21(check: str) -> None:
    """Go <= 1.20: the check's own jbe, with the flag that tells retries."""
    size = len(bytes.fromhex(check))
    code, pcsp = at(check + "4883ec18 4883c418 c3", (0, 0), (size + 4, 0x18), (size + 8, 0))
    assert (size - 2, 8, True, CookieFlag.RETRY_CHECK) == entry(placed(code, pcsp))


def test_morestack_retry_is_no_tail_jump() -> None:
    """The slow path's jump back to the entry neither leaves the function nor disqualifies the push."""
    code = "493b6610 7602 55 c3 e8f3efffff ebf1"
    placement = placed(*at(code, (0, 0), (7, 0)))
    assert (6, 8, True, CookieFlag.NONE) == entry(placement)
    assert [ENTRY + 7] == [site.address for site in placement.exits]


def test_loop_to_the_push_disqualifies_it() -> None:
    """If something branches back to the push, the check's jump is taken."""
    code = "493b6610 7604 55 ebfd c3"
    placement = placed(*at(code, (0, 0)))
    assert (4, 8, True, CookieFlag.RETRY_CHECK) == entry(placement)


def test_push_first() -> None:
    """No check, but a frame: the first push %rbp."""
    code, pcsp = at("55 4889e5 4883ec10 4883c410 5d c3", (0, 0), (1, 8), (8, 0x18), (12, 8), (13, 0))
    placement = placed(code, pcsp)
    assert (0, 8, True, CookieFlag.NONE) == entry(placement)
    assert [(ENTRY + 13, 8, False)] == [
        (site.address, site.sp_to_cfa, site.emulated) for site in placement.exits
    ]


def test_nop_in_the_first_block() -> None:
    """The shape of casgstatus on Go 1.19: the nop after sub and spills, with SP counted."""
    # sub $0x40,%rsp; mov %rax,0x48(%rsp); bt $12,%ebx; nop; jb +0; add; ret
    code = "4883ec40 4889442448 0fbae30c 90 7200 4883c440 c3"
    code, pcsp = at(code, (0, 0), (4, 0x40), (20, 0))
    assert (13, 0x48, True, CookieFlag.NONE) == entry(placed(code, pcsp))


def test_nop_after_an_argument_is_lost() -> None:
    """A nop after RBX was overwritten does not qualify; the first instruction is single-stepped instead."""
    placement = placed("31db 90 c3")
    assert (0, 8, False, CookieFlag.NONE) == entry(placement)


@pytest.mark.parametrize(
    "overwrite",
    ["b801000000", "4d31f6", "c744240800000000", "0f57c0"],
    ids=["rax", "r14", "stack argument", "x0"],
)
def test_what_counts_as_lost(overwrite: str) -> None:
    """An integer register, g, the caller's part of the stack, and a float register each disqualify what follows."""
    assert 0 == entry(placed(overwrite + "90 c3"))[0]


def test_scratch_writes_do_not_matter() -> None:
    """R12 and the function's own part of the stack may be written before the site."""
    assert 8 == entry(placed("4d31e4 48896c24f8 90 c3"))[0]


def test_conditional_jump_ends_the_block() -> None:
    """A jcc qualifies; what follows it does not run for every call."""
    # mov (%rax),%r12; test %r12,%r12; je +1; nop; ret
    assert (6, 8, True, CookieFlag.NONE) == entry(placed("4c8b20 4d85e4 7401 90 c3"))


def test_jump_inside_the_function() -> None:
    """A direct jump within the function can be the entry site."""
    assert (0, 8, True, CookieFlag.NONE) == entry(placed("eb03 4889f0 c3"))


def test_loop_at_the_entry_is_an_issue() -> None:
    """Nothing runs exactly once: no probe rather than wrong counts."""
    placement = placed("488b08 4839c8 75f8 c3")
    assert placement.entry is None
    assert ["unsupported"] == [issue.kind for issue in placement.issues]
    assert "loop" in placement.issues[0].message


def test_refused_instructions_are_passed_over() -> None:
    """A LOCK-prefixed first instruction is never probed."""
    # lock inc (%r12) cannot be hit; nop can
    assert (5, 8, True, CookieFlag.NONE) == entry(placed("f041ff0424 90 c3"))


def test_bare_ret_and_bare_jump() -> None:
    """A function of one ret, or one jump, is entered and left at the same place."""
    for code, text in (("c3", "ret"), ("e9fb0f0000", "jmp 0x402000")):
        placement = placed(code)
        assert placement.entry is not None
        assert (CookieFlag.BARE_RET, text, ()) == (
            placement.entry.flags,
            placement.entry.text,
            placement.exits,
        )


def test_no_exit() -> None:
    """A function that never returns has no exits, and that is said."""
    placement = placed("55 e8fa0f0000 0f0b")
    assert placement.entry is not None
    assert ((), ["no exit"]) == (placement.exits, [issue.kind for issue in placement.issues])


def test_tail_jump() -> None:
    """A jump out of the function with the frame gone is an exit, and the kernel emulates it."""
    placement = placed("55 5d e9f90f0000")
    assert [(ENTRY + 2, True)] == [(site.address, site.emulated) for site in placement.exits]


def test_ret_off_balance_is_refused() -> None:
    """A RET where pclntab says that SP is elsewhere is not trusted."""
    placement = placed(*at("55 c3", (0, 0), (1, 8)))
    assert () == placement.exits
    assert "8 bytes off" in placement.issues[0].message


def test_pcsp_disagreement_moves_the_site() -> None:
    """Where instructions and pclntab disagree about SP, a Go function's instruction is not chosen."""
    placement = placed(*at("4883ec10 90 c3", (0, 0), (4, 0x20), (5, 0)))
    assert (0, 8, False, CookieFlag.NONE) == entry(placement)


def test_assembly_reads_g_from_tls() -> None:
    """Entry and exits of assembly say that g is not in its register; its check may go through another one."""
    # mov %fs:-8,%rcx; cmp 0x10(%rcx),%rsp; jbe; push %rbp; pop %rbp; ret
    code = "64488b0c25f8ffffff 483b6110 7603 55 5d c3 e8ebefffff"
    placement = placed(code, assembly=True)
    assert (15, 8, True, CookieFlag.G_FROM_TLS) == entry(placement)
    assert [CookieFlag.G_FROM_TLS] == [site.flags for site in placement.exits]


@pytest.mark.parametrize("code", ["eb04 06060606 c3", "7502 48c7 c0c3c3c390 c3"])
def test_data_among_code_is_refused(code: str) -> None:
    """Bytes that are no code, or a jump into an instruction: nothing in the function is probed."""
    placement = placed(code, assembly=True)
    assert placement.entry is None
    assert "not code" in placement.issues[0].message


def test_same_input_same_placement() -> None:
    """Placing is pure."""
    code, pcsp = at(CHECK + "55 5d c3", (0, 0), (7, 8), (8, 0))
    assert placed(code, pcsp) == placed(code, pcsp)
