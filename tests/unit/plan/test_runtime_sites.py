"""The runtime's own sites, where the compare-and-swap of atomicstatus was inlined."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from undergo.goexe import instructions
from undergo.goexe.executable import GoExecutable
from undergo.goexe.function import Function
from undergo.plan.planner import CLOCK_ROLES, make_plan
from undergo.plan.probe_plan import CasRegisters, Role
from undergo.plan.runtime_sites import _jump_after, cas_sites
from undergo.plan.sites import FunctionView

ENTRY = 0x401000
ITERATOR = """\
package main

import "iter"

func main() {
	next, stop := iter.Pull(func(yield func(int) bool) {
		for i := 0; yield(i); i++ {
		}
	})
	defer stop()
	for i := 0; i < 10; i++ {
		next()
	}
}
"""


def jump_after(code: str, address: int = ENTRY) -> tuple[int, CasRegisters] | None:
    """Offset of the jump that follows the compare-and-swap at `address`, and its registers."""
    raw = bytes.fromhex(code)
    function = Function(0, "runtime.f", ENTRY, ENTRY + len(raw), "", 0, 0, False, False)
    view = FunctionView(function, raw, (), 0, instructions.scan(raw, ENTRY))
    found = _jump_after(view, address)
    return None if found is None else (found[0].ip - ENTRY, found[1])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        # lock cmpxchg %ecx,0x90(%rdi); sete %r8b; test %r8b,%r8b; je
        ("f00fb18f90000000 410f94c0 4584c0 7400", (15, CasRegisters(7, 1))),
        # a long nop in between, and a jne
        ("f00fb18f90000000 410f94c0 660f1f440000 4584c0 7500", (21, CasRegisters(7, 1))),
        # lock cmpxchg %r11d,0x98(%r10): REX numbers
        ("f0450fb19a98000000 0f94c1 84c9 0f8500000000", (14, CasRegisters(10, 11))),
        # sete overwrites the register of new
        ("f00fb18f90000000 0f94c1 84c9 7500", (13, CasRegisters(7, None))),
        # gp overwritten before the jump
        ("f00fb18f90000000 410f94c0 31ff 4584c0 7400", None),
        # old overwritten before the jump
        ("f00fb18f90000000 0f94c0 84c0 7400", None),
        # another register is tested
        ("f00fb18f90000000 410f94c0 84db 7400", None),
        # no jump at all
        ("f00fb18f90000000 c3", None),
    ],
)
def test_jump_after_compare_and_swap(code: str, expected: tuple[int, CasRegisters] | None) -> None:
    """The jump is found only where old, gp and the outcome can be read at it."""
    assert expected == jump_after(code)


def test_bytes_inside_an_instruction_are_no_compare_and_swap() -> None:
    """What looks like one but lies inside another instruction is not taken."""
    # movabs $imm64,%rax whose immediate holds the bytes
    assert jump_after("48b8 f00fb18f90000000 7400", ENTRY + 2) is None


def test_casgstatus_is_always_there(executable: GoExecutable) -> None:
    """The search by bytes finds casgstatus itself and the scan helpers in every version."""
    names = {function.name for function, _ in cas_sites(executable)}
    assert {"runtime.casgstatus", "runtime.castogscanstatus", "runtime.casfrom_Gscanstatus"} <= names


def test_iter_pull_switches(build: object, executable: GoExecutable, tmp_path: Path) -> None:
    """A program with iter.Pull (Go 1.23 on) has two inlined transitions in coroswitch_m."""
    if executable.build.version < (1, 23):
        assert executable.functions.named("runtime.coroswitch_m") is None
        return
    assert callable(build)
    (tmp_path / "main.go").write_text(ITERATOR)
    environment = {**os.environ, "GO111MODULE": "auto", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    go = build.go  # type: ignore[attr-defined]
    subprocess.run(
        [go, "build", "-o", "program", "main.go"], cwd=tmp_path, env=environment, check=True, timeout=300
    )
    with GoExecutable.open(tmp_path / "program") as program:
        plan = make_plan(program, 0, 1, ["main.main"], roles=CLOCK_ROLES, max_probes=100)
    sites = [site for site in plan.runtime if site.role == Role.INLINED_TRANSITION]
    assert ["runtime.coroswitch_m"] * 2 == [site.function.name for site in sites]
    assert all(site.site.emulated and site.registers is not None for site in sites)
    lost = [site.registers.new is None for site in sites if site.registers is not None]
    assert [False, program.build.version >= (1, 26)] == lost
