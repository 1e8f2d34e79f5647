"""Addresses somebody wrote down: right ones pass however they are written, others are told with the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from tests import conftest
from undergo.goexe import instructions
from undergo.goexe.executable import GoExecutable
from undergo.plan.addresses import Stale, returns, stale
from undergo.plan.planner import make_plan
from undergo.plan.probe_plan import FunctionPlan

program = conftest.build  # this folder has another `build`

VERSIONS = ["1.19", "1.21", "1.24", "1.27"]
Frames = Callable[..., GoExecutable]


@pytest.fixture
def frames(program: conftest.Build) -> Iterator[Frames]:
    """Open tests/programs/frames, built in some way."""
    opened = []

    def open_frames(
        go: str = "1.24", *, pie: bool = False, name: str = "frames", cgo: bool = False
    ) -> GoExecutable:
        opened.append(GoExecutable.open(program(name, go, pie=pie, cgo=cgo)))
        return opened[-1]

    yield open_frames
    for executable in opened:
        executable.close()


def planned(executable: GoExecutable, name: str) -> FunctionPlan:
    (function,) = make_plan(executable, 0, 0, [name], roles=(), max_probes=1000).functions
    return function


def decoded(executable: GoExecutable, function: FunctionPlan) -> dict[int, str]:
    """All instructions of a function by address, as words."""
    code = executable.code(function.function)
    return {i.ip: instructions.text(i) for i in instructions.decode(code, function.function.entry)}


@pytest.mark.parametrize("go", VERSIONS)
@pytest.mark.parametrize("pie", [False, True])
@pytest.mark.parametrize("name", ["main.many", "main.huge"])
def test_right_addresses(frames: Frames, go: str, pie: bool, name: str) -> None:
    """All RETs, and the first instruction or the one that is probed; as addresses, as offsets in the file, or mixed."""
    executable = frames(go, pie=pie)
    function = planned(executable, name)
    rets = [address for address, text in decoded(executable, function).items() if text.startswith("ret")]
    assert tuple(rets) == returns(function)
    offsets = [executable.file_offset(address) for address in rets]
    assert rets != offsets
    first, probed = function.function.entry, function.entry.address
    assert (name == "main.many") == (len(rets) > 1) == (first == probed)
    for entry in (first, probed, executable.file_offset(first), executable.file_offset(probed), None):
        for given in (rets, offsets, [offsets[0], *rets[1:]], rets[::-1], [*rets, *offsets], []):
            assert [] == [*stale(executable, function, entry, given)]


def test_addresses_close_to_offsets(frames: Frames) -> None:
    """In a PIE of a system's linker they are apart by some pages only."""
    executable = frames("1.24", pie=True, name="cgocalls", cgo=True)
    function = planned(executable, "main.main")
    offset = executable.file_offset(function.function.entry)
    assert 0 < offset < 0x400000
    assert function.function.entry < 0x400000
    rets = returns(function)
    assert [] == [*stale(executable, function, offset, [executable.file_offset(ret) for ret in rets])]
    assert [] == [*stale(executable, function, function.function.entry, rets)]
    assert 2 == len([*stale(executable, function, offset + 1, [rets[0] + 1, *rets])])


@pytest.mark.parametrize("go", VERSIONS)
def test_a_stale_entry(frames: Frames, go: str) -> None:
    """In another function, in none, at another instruction, inside one: each is told as what it is."""
    executable = frames(go)
    function = planned(executable, "main.many")
    first = function.function.entry
    other = planned(executable, "main.args").function
    places = list(decoded(executable, function).items())
    address, text = next(
        (address, text) for address, text in places[1:] if address not in (first, function.entry.address)
    )
    long = next(at for (at, _), (then, _) in pairwise(places) if then - at > 1)
    for wrong, said in (
        (other.entry, "the first instruction of main.args"),
        (1, "in no function"),
        (function.function.end, "in no function"),
        (1 << 63, "in no function"),
        (address, f"`{text}` at main.many+{address - first:#x}"),
        (long + 1, f"inside an instruction at main.many+{long + 1 - first:#x}"),
    ):
        message = f"main.many begins at {first:#x}; {wrong:#x} is {said}"
        assert [Stale(wrong, message, of_entry=True)] == [*stale(executable, function, wrong, ())]


@pytest.mark.parametrize("go", VERSIONS)
def test_a_return_that_is_none(frames: Frames, go: str) -> None:
    """Another instruction, the inside of one, another function's RET, no function at all; the right ones are told."""
    executable = frames(go)
    function = planned(executable, "main.many")
    rets = returns(function)
    right = ", ".join(map(hex, rets))
    first = function.function.entry
    second, text = list(decoded(executable, function).items())[1]
    others = returns(planned(executable, "main.args"))
    distance = others[0] - planned(executable, "main.args").function.entry
    for wrong, said in (
        (first, "the first instruction of main.many"),
        (second, f"`{text}` at main.many+{second - first:#x}"),
        (first + 1, "inside an instruction at main.many+0x1"),
        (others[0], f"`ret` at main.args+{distance:#x}"),
        (1, "in no function"),
    ):
        found = list(stale(executable, function, first, [*rets, wrong]))
        assert [Stale(wrong, f"main.many returns at {right}; {wrong:#x} is {said}")] == found


def test_a_return_that_is_missing(frames: Frames) -> None:
    """Returns that are given must be all; each that is not is told, whichever way the others are written."""
    executable = frames()
    function = planned(executable, "main.many")
    first, *others = returns(function)
    right = ", ".join(map(hex, returns(function)))
    for given in (first, executable.file_offset(first)):
        gone = ", ".join(map(hex, others))
        message = f"main.many returns at {right}; {gone} is not in the list"
        assert [Stale(None, message)] == [*stale(executable, function, None, [given])]
    (wrong, missing) = stale(executable, function, None, [first + 1, *others])
    assert (first + 1, None) == (wrong.address, missing.address)
    assert missing.message.endswith(f"; {first:#x} is not in the list")


def test_everything_wrong_is_told(frames: Frames) -> None:
    """The entry first, then returns in the order given."""
    executable = frames()
    function = planned(executable, "main.many")
    found = list(stale(executable, function, 3, [1, *returns(function), 2]))
    assert [(3, True), (1, False), (2, False)] == [(wrong.address, wrong.of_entry) for wrong in found]


@pytest.mark.parametrize("go", VERSIONS)
def test_tail_jumps(frames: Frames, go: str) -> None:
    """A function also ends where it jumps to another: that is no RET, but may stand among them."""
    executable = frames(go)
    function = planned(executable, "runtime.memequal")
    jumps = [site.address for site in function.exits if site.text.startswith("jmp")]
    rets = returns(function)
    assert jumps
    assert rets
    assert {*jumps, *rets} == {site.address for site in function.exits}
    assert not {*jumps} & {*rets}
    assert [] == [*stale(executable, function, None, rets)]
    assert [] == [*stale(executable, function, None, [*jumps, *rets])]
    (missing,) = stale(executable, function, None, jumps)
    assert missing.address is None


@pytest.mark.parametrize("go", VERSIONS)
def test_a_function_that_is_a_ret(frames: Frames, go: str) -> None:
    """It begins where it returns."""
    executable = frames(go)
    function = planned(executable, "main.nothing")
    entry = function.function.entry
    assert (entry,) == returns(function)
    assert [] == [*stale(executable, function, entry, [entry])]
    assert 2 == len([*stale(executable, function, entry, [entry + 1])])


def test_a_function_that_never_returns(frames: Frames) -> None:
    """Whatever is given as its RET is none."""
    executable = frames()
    function = planned(executable, "runtime.bgsweep")
    assert () == returns(function)
    (wrong,) = stale(executable, function, None, [function.function.entry])
    assert "runtime.bgsweep returns at nowhere; " in wrong.message
