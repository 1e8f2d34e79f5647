"""Whole plans of real executables; no kernel is asked."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from undergo.errors import UsageError
from undergo.goexe import instructions
from undergo.goexe.executable import GoExecutable
from undergo.plan.planner import CLOCK_ROLES, make_plan
from undergo.plan.probe_plan import CookieFlag, ProbePlan, Role, cookie
from undergo.plan.sites import place

ALL = 1_000_000


def plan(executable: GoExecutable, *patterns: str, max_probes: int = ALL) -> ProbePlan:
    """A plan without runtime sites."""
    return make_plan(executable, 0, 1, patterns, roles=(), max_probes=max_probes)


def test_names_and_ids(executable: GoExecutable) -> None:
    """Functions come in the order of their addresses, with ids from the first one on."""
    found = plan(executable, "main.leaf", "main.huge").functions
    assert ["main.huge", "main.leaf"] == sorted(function.function.name for function in found)
    assert [1, 2] == [function.id for function in found]
    assert found[0].function.entry < found[1].function.entry


def test_method_name_is_literal(executable: GoExecutable) -> None:
    """`main.(*shop).Order` selects that method only."""
    assert ["main.(*shop).Order"] == [
        f.function.name for f in plan(executable, "main.(*shop).Order").functions
    ]


def test_every_instance_of_a_generic(executable: GoExecutable) -> None:
    """Instances share a name; all of them that have code are probed."""
    functions = plan(executable, "main.generic[...]").functions
    rows = executable.functions.rows_named("main.generic[...]")
    assert {row for row in rows if not executable.functions.is_wrapper(row)} == {
        f.function.index for f in functions
    }


def test_inlined_is_an_issue(executable: GoExecutable) -> None:
    """A function that was inlined everywhere, and one that was inlined in places, are said with their callers."""
    issues = {issue.func: issue for issue in plan(executable, "main.*").issues}
    assert ("inlined", True) == (issues["main.small"].kind, "main.main" in issues["main.small"].message)
    assert "nothing to probe" in issues["main.small"].message
    alone = plan(executable, "main.small")
    assert ((), ["inlined"]) == (alone.functions, [issue.kind for issue in alone.issues])


def test_runtime_functions_that_cannot_be_traced(executable: GoExecutable) -> None:
    """What changes stacks or goroutines is refused one by one, with the reason; the rest of the package is planned."""
    found = plan(executable, "runtime.*")
    names = {function.function.name for function in found.functions}
    refused = {issue.func for issue in found.issues if issue.kind == "runtime"}
    wanted = {
        "runtime.gogo",
        "runtime.mcall",
        "runtime.morestack",
        "runtime.schedule",
        "runtime.asyncPreempt",
    }
    assert wanted <= refused
    assert not names & refused
    assert {"runtime.mallocgc", "runtime.gopark", "runtime.chansend1", "runtime.gcStart"} <= names


def test_pattern_that_matches_nothing(executable: GoExecutable) -> None:
    """The error offers what may have been meant."""
    with pytest.raises(UsageError) as caught:
        plan(executable, "conn.serve")
    assert "no function matches conn.serve" == caught.value.message
    assert "did you mean net/http.(*conn).serve?" == caught.value.hint


def test_too_many_probes(executable: GoExecutable) -> None:
    """The error counts, both when the functions alone are too many and when their exits are."""
    functions = len(plan(executable, "net/http.*").functions)
    probes = plan(executable, "net/http.*").probes
    for limit in (10, probes - 1):
        with pytest.raises(UsageError) as caught:
            plan(executable, "net/http.*", max_probes=limit)
        assert str(limit) in caught.value.message
        assert "--max-probes" in caught.value.hint
    assert functions == len(plan(executable, "net/http.*", max_probes=probes).functions)


def test_same_input_same_plan(executable: GoExecutable) -> None:
    """Planning is pure."""
    assert plan(executable, "net/http.*") == plan(executable, "net/http.*")


def test_huge_frame(executable: GoExecutable) -> None:
    """A frame over the stack guard has an extra jb in its check; the site is after both."""
    (function,) = plan(executable, "main.huge").functions
    before = executable.code(function.function)[: function.entry.address - function.function.entry]
    assert {"mov", "sub", "jb", "cmp"} <= {
        instructions.text(i).split()[0] for i in instructions.decode(before, 0)
    }
    assert 8 == function.entry.sp_to_cfa


def test_every_check_is_emulated(executable: GoExecutable) -> None:
    """All Go functions with a stack check get push %rbp (1.21 on) or the check's jump; three in four have one."""
    found = plan(executable, "*").functions
    jumps = [f for f in found if f.entry.flags & CookieFlag.RETRY_CHECK]
    pushes = [f for f in found if "push %rbp after the stack check" in f.entry.why]
    assert 0.7 < (len(jumps) + len(pushes)) / len(found) < 0.9
    assert [] == (jumps if executable.build.version >= (1, 21) else pushes)
    assert all(f.entry.emulated and f.entry.sp_to_cfa == 8 for f in jumps + pushes)


def test_no_single_step_where_an_emulated_site_is_allowed(executable: GoExecutable) -> None:
    """A single-stepped entry site has no push, nop, jcc or call before the first write to an argument register."""
    for function in plan(executable, "*").functions:
        entry = function.entry
        if entry.emulated or entry.flags & CookieFlag.BARE_RET or function.function.assembly:
            continue
        code = executable.code(function.function)
        exits = {site.address for site in function.exits}
        for instruction in instructions.scan(code, function.function.entry).head:
            if instruction.ip in exits:
                break
            at = instruction.ip - function.function.entry
            kind = instructions.emulation(code[at : at + instruction.len])
            assert kind != instructions.Emulation.ALWAYS, (function.function.name, instruction)
            writes = instructions.effects(instruction)
            if writes.registers & instructions.ARGUMENTS or writes.memory or instruction.flow_control != 0:
                break


def test_sites_are_what_the_file_holds(executable: GoExecutable) -> None:
    """Offset, bytes, and pclntab's SP delta agree at every site of a package; every cookie can be made."""
    functions = executable.functions
    for planned in plan(executable, "net/http.*").functions:
        deltas = functions.pcsp(planned.function)
        for site in (planned.entry, *planned.exits):
            assert site.offset == executable.file_offset(site.address)
            assert site.raw == executable.elf.read_file(site.offset, len(site.raw))
            (delta,) = (delta for start, end, delta in deltas if start <= site.address < end)
            assert site.sp_to_cfa == delta + 8
            assert cookie(planned.id, 0, site) >> 32 & 0xFFFF == site.sp_to_cfa


def test_exits_equal_objdump(executable: GoExecutable) -> None:
    """Over the whole executable: the RETs are objdump's, every site is an instruction of objdump's."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    command = ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", executable.path]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {int(at, 16): word for at, word in re.findall(r"^ *([0-9a-f]+):\t(\S+)", lines, re.MULTILINE)}
    functions = executable.functions
    mine: set[int] = set()
    for function in functions:
        placement = place(function, executable.code(function), functions.pcsp(function), 0)
        entry = () if placement.entry is None else (placement.entry,)
        mine |= {site.address for site in (*entry, *placement.exits)}
    assert set() == mine - found.keys()
    rets = {at for at, word in found.items() if word == "ret"}
    owners = {ret: functions.find(ret) for ret in rets - mine}
    left = {owner.name for owner in owners.values() if owner is not None}
    # Not probed: a loop from the first instruction on, RETs with a frame still there, hand-written tables.
    assert len(left) < 0.005 * len(functions), left


def test_go_functions_do_not_mix_returns_and_tail_jumps(executable: GoExecutable) -> None:
    """A Go function leaves by RET or by tail jump, never by both (asynchronous exits would be miscounted)."""
    for function in executable.functions:
        scan = instructions.scan(executable.code(function), function.entry)
        assert function.assembly or not (scan.returns and scan.jumps_out), function.name


@pytest.mark.parametrize("flags", [(), ("-ldflags=-s -w",), ("-buildmode=pie", "-ldflags=-s -w")])
def test_runtime_sites(build: object, flags: tuple[str, ...]) -> None:
    """Recovery, death, preemption and transition are found in every build, emulated, with the right SP."""
    assert callable(build)
    executable = GoExecutable.open(build(*flags))
    found = make_plan(executable, 0, 1, ["main.main"], roles=CLOCK_ROLES, max_probes=ALL)
    sites = {site.role: site for site in found.runtime}
    assert [Role.RECOVERY, Role.DEATH, Role.PREEMPTION, Role.TRANSITION] == [
        site.role for site in found.runtime
    ]
    assert all(site.site.emulated for site in found.runtime)
    recovery = sites[Role.RECOVERY]
    assert recovery.site.text.startswith("call")
    deltas = executable.functions.pcsp(recovery.function)
    assert [recovery.site.sp_to_cfa - 8] == [
        d for start, end, d in deltas if start <= recovery.site.address < end
    ]
    if executable.build.version >= (1, 21):
        assert (b"\x55", 8) == (sites[Role.TRANSITION].site.raw, sites[Role.TRANSITION].site.sp_to_cfa)
    else:
        assert sites[Role.DEATH].site.flags == CookieFlag.RETRY_CHECK
