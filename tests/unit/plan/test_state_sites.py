"""The runtime's own sites for goroutine states, against what `go tool objdump` says of real programs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from goimage import FUNCTIONS, Fn, Image

from undergo.goexe.executable import GoExecutable
from undergo.plan.planner import STATE_ROLES
from undergo.plan.probe_plan import CookieFlag, Role, RuntimeSite, cookie_of
from undergo.plan.runtime_sites import runtime_sites

ROLES = (Role.PREEMPTION, Role.TRANSITION, Role.SYSCALL_TRANSITION, Role.BIRTH)
NAMES = ("preemptPark", "casgstatus", "reentersyscall", "exitsyscall", "newproc1", "park_m")
NUMBERS = "AX CX DX BX SP BP SI DI R8 R9 R10 R11 R12 R13 R14 R15".split()
LINE = re.compile(r"\s+\S+:\d+\s+0x([0-9a-f]+)\s+([0-9a-f]+)\s+(.*?)\s*$")


@dataclass(frozen=True)
class Line:
    """An instruction as objdump has it, with Go's operands: sources first."""

    address: int
    raw: bytes
    text: str


Code = dict[str, list[Line]]


@pytest.fixture(scope="session")
def code(build: Callable[..., Path]) -> Code:
    """The disassembly of the functions that matter, without padding; no list where there is no such function."""
    command = [build.go, "tool", "objdump", "-s", rf"^runtime\.({'|'.join(NAMES)})$"]  # type: ignore[attr-defined]
    done = subprocess.run([*command, build()], capture_output=True, text=True, check=True, timeout=300)
    found: Code = {}
    for text in done.stdout.splitlines():
        if text.startswith("TEXT"):
            lines = found[text.split()[1].removesuffix("(SB)")] = []
        elif (match := LINE.match(text)) and not match[3].startswith("INT $0x3"):
            lines.append(Line(int(match[1], 16), bytes.fromhex(match[2]), match[3]))
    return found


def sites(executable: GoExecutable, role: Role) -> list[RuntimeSite]:
    """The sites of one role, of which there is nothing to complain."""
    found, issues = runtime_sites(executable, {role})
    assert [] == issues
    assert {role} >= {site.role for site in found}
    return found


def before(code: Code, site: RuntimeSite) -> list[Line]:
    """What runs before a site, if nothing jumps."""
    return [line for line in code[site.function.name] if line.address < site.site.address]


def bytes_to_cfa(lines: list[Line]) -> int:
    """From SP to the CFA after a prologue."""
    frames = [re.match(r"SUBQ \$(\w+), SP", line.text) for line in lines]
    frame = next((int(match[1], 0) for match in frames if match), 0)
    return 8 + frame + 8 * any(line.text == "PUSHQ BP" for line in lines)


def assert_is_an_instruction(code: Code, site: RuntimeSite) -> None:
    """Its bytes are those of a whole instruction of its function."""
    assert (site.site.address, site.site.raw) in [
        (line.address, line.raw) for line in code[site.function.name]
    ]


def test_births_are_where_the_new_g_has_its_goid(executable: GoExecutable, code: Code) -> None:
    """Right after goid is stored, at an emulated instruction; the cookie names the register that holds g."""
    (site,) = sites(executable, Role.BIRTH)
    assert ("runtime.newproc1", True) == (site.function.name, site.site.emulated)
    assert_is_an_instruction(code, site)
    ahead = before(code, site)
    store = re.compile(rf"MOVQ \w+, {executable.layout.g_goid:#x}\((\w+)\)")
    at = max(number for number, line in enumerate(ahead) if store.match(line.text))
    held = store.match(ahead[at].text)
    assert held is not None
    between = [line.text for line in ahead[at + 1 :]]
    assert not [text for text in between if re.match(r"J|CALL|RET", text) or text.endswith(f", {held[1]}")]
    numbers = ["AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", *(f"R{n}" for n in range(8, 16))]
    assert numbers.index(held[1]) == cookie_of(site, 3) & 15
    assert 0 == (cookie_of(site, 3) & 0xFFFFFF) >> 12 == site.number


def test_births_are_at_the_return_where_no_store_of_a_goid_is_found(tmp_path: Path) -> None:
    """There the new g is in AX."""
    with image(tmp_path, "runtime.newproc1") as executable:
        function = executable.functions.named("runtime.newproc1")
        assert function is not None
        offset = executable.file_offset(function.end) - 1
    raw = bytearray((tmp_path / "program").read_bytes())
    raw[offset : offset + 1] = b"\xc3"
    (tmp_path / "program").write_bytes(raw)
    with GoExecutable.open(tmp_path / "program") as executable:
        (site,), issues = runtime_sites(executable, {Role.BIRTH})
    assert ([], b"\xc3", function.end - 1) == (issues, site.site.raw, site.site.address)
    assert (0, 0) == (cookie_of(site, 3) & 15, (cookie_of(site, 3) & 0xFFFFFF) >> 12)


def test_preemption_is_at_the_entry_of_preempt_park(executable: GoExecutable, code: Code) -> None:
    """Once per call and with gp still in AX: nothing but the stack check runs before."""
    (site,) = sites(executable, Role.PREEMPTION)
    assert "runtime.preemptPark" == site.function.name
    assert_is_an_instruction(code, site)
    ahead = before(code, site)
    assert {"CMPQ", "LEAQ", "JBE"} >= {line.text.split()[0] for line in ahead}
    retries = b"\x55" != site.site.raw
    assert retries == (CookieFlag.RETRY_CHECK in site.site.flags)
    assert retries == (not any(line.text.startswith("JBE") for line in ahead))
    assert (True, 8) == (site.site.emulated, site.site.sp_to_cfa)


def test_transition_is_where_casgstatus_has_its_arguments(executable: GoExecutable, code: Code) -> None:
    """In the first block, nothing having overwritten AX, BX or CX, and with the frame's size known."""
    (site,) = sites(executable, Role.TRANSITION)
    assert "runtime.casgstatus" == site.function.name
    assert_is_an_instruction(code, site)
    ahead = before(code, site)
    assert not [line for line in ahead if re.match(r"J|CALL", line.text)]
    writers = [line for line in ahead if re.search(r", (AX|BX|CX)$", line.text)]
    assert [] == [line for line in writers if not re.match(r"CMP|TEST|BT", line.text)]
    assert (True, bytes_to_cfa(ahead)) == (site.site.emulated, site.site.sp_to_cfa)
    assert CookieFlag.NONE == site.site.flags


def test_the_truthful_caller_is_park_m(executable: GoExecutable, code: Code) -> None:
    """Up to Go 1.19 only a return address within it means a true wait reason; from 1.20 on all are."""
    (site,) = sites(executable, Role.TRANSITION)
    if executable.build.version >= (1, 20):
        assert site.truthful_caller is None
        return
    park = code["runtime.park_m"]
    assert (park[0].address, park[-1].address + len(park[-1].raw)) == site.truthful_caller
    others = [role for role in STATE_ROLES if role != Role.TRANSITION]
    assert {None} == {site.truthful_caller for site in runtime_sites(executable, others)[0]}


def test_system_calls_are_announced_by_jumps_from_1_26_on(executable: GoExecutable, code: Code) -> None:
    """One jump in each of two functions, right after a compare-and-swap whose registers the site names."""
    found = sites(executable, Role.SYSCALL_TRANSITION)
    if executable.build.version < (1, 26):
        assert [] == found
        return
    assert ["runtime.exitsyscall", "runtime.reentersyscall"] == sorted(site.function.name for site in found)
    for site in found:
        assert_is_an_instruction(code, site)
        assert re.match("je|jne", site.site.text)
        swap = next(line for line in reversed(before(code, site)) if "CMPXCHG" in line.text)
        new, offset, gp = re.fullmatch(r"LOCK CMPXCHGL (\w+), (\w+)\((\w+)\)", swap.text).groups()  # type: ignore[union-attr]
        assert executable.layout.g_atomicstatus == int(offset, 16)
        assert site.registers is not None
        assert (NUMBERS.index(gp), NUMBERS.index(new)) == (site.registers.gp, site.registers.new)
        assert (True, bytes_to_cfa(before(code, site))) == (site.site.emulated, site.site.sp_to_cfa)


def test_system_calls_have_a_role_of_their_own(executable: GoExecutable) -> None:
    """Clocks, which take system calls from the kernel, do not get those sites with the others."""
    names = {site.function.name for site in runtime_sites(executable, {Role.INLINED_TRANSITION})[0]}
    assert not names & {"runtime.exitsyscall", "runtime.reentersyscall"}


def test_sites_come_in_the_order_of_roles(executable: GoExecutable) -> None:
    """Whatever the order in which they were asked for; only what was asked for."""
    found, _ = runtime_sites(executable, ROLES[::-1])
    wanted = [
        role for role in ROLES if role != Role.SYSCALL_TRANSITION or executable.build.version >= (1, 26)
    ]
    assert wanted == list(dict.fromkeys(site.role for site in found))
    assert ([], []) == runtime_sites(executable, ())


@pytest.mark.parametrize(
    "flags", [("-ldflags=-s -w",), ("-buildmode=pie", "-ldflags=-s -w")], ids=["stripped", "pie"]
)
def test_sites_without_symbols(
    build: Callable[..., Path], executable: GoExecutable, flags: tuple[str, ...]
) -> None:
    """Stripped or position independent, the same sites with the same registers are found."""

    def shape(program: GoExecutable) -> list[tuple[object, ...]]:
        found, issues = runtime_sites(program, ROLES)
        assert [] == issues
        sites = [
            (s.role, s.function.name, s.site.emulated, s.site.sp_to_cfa, s.registers, s.number) for s in found
        ]
        return sorted(sites, key=str)

    with GoExecutable.open(build(*flags)) as other:
        assert shape(executable) == shape(other)


def image(tmp_path: Path, *names: str, go: str = "go1.24.11") -> GoExecutable:
    """A hand-made executable with functions of no-ops besides."""
    path = tmp_path / "program"
    path.write_bytes(Image(go, functions=(*FUNCTIONS, *(Fn(name) for name in names))).build())
    return GoExecutable.open(path)


@pytest.mark.parametrize(
    ("role", "name"),
    [
        (Role.PREEMPTION, "runtime.preemptPark"),
        (Role.TRANSITION, "runtime.casgstatus"),
        (Role.BIRTH, "runtime.newproc1"),
    ],
)
def test_a_function_that_is_missing_is_an_issue(tmp_path: Path, role: Role, name: str) -> None:
    """It is named, and the others are found all the same."""
    with image(tmp_path) as executable:
        found, issues = runtime_sites(executable, {role})
    assert ([], [(name, "runtime")]) == (found, [(issue.func, issue.kind) for issue in issues])
    assert "there is no such function" in issues[0].message


def test_a_newproc1_that_never_returns_is_an_issue(tmp_path: Path) -> None:
    """No birth would be seen, which must be said."""
    with image(tmp_path, "runtime.newproc1") as executable:
        found, issues = runtime_sites(executable, {Role.BIRTH})
    assert ([], [("runtime.newproc1", "no exit")]) == (found, [(issue.func, issue.kind) for issue in issues])


@pytest.mark.parametrize(
    ("go", "park", "caller"),
    [("go1.19.8", True, True), ("go1.19.8", False, (0, 0)), ("go1.20.14", True, None)],
)
def test_whose_reason_is_true(tmp_path: Path, go: str, park: bool, caller: object) -> None:
    """Where park_m cannot be found in an old Go nobody is trusted."""
    names = ["runtime.casgstatus", *(["runtime.park_m"] if park else [])]
    with image(tmp_path, *names, go=go) as executable:
        (site,), _ = runtime_sites(executable, {Role.TRANSITION})
        function = executable.functions.named("runtime.park_m")
        expected = (function.entry, function.entry + 20) if caller is True and function else caller
    assert expected == site.truthful_caller


def test_no_compare_and_swap_is_no_issue(tmp_path: Path) -> None:
    """Before Go 1.26 there is none in system calls, so none is missed."""
    with image(tmp_path, "runtime.exitsyscall", "runtime.reentersyscall") as executable:
        assert ([], []) == runtime_sites(executable, {Role.SYSCALL_TRANSITION})
