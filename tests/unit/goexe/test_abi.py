"""Places of parameters by the rules of the calling convention are those that debug information names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import CACHE
from undergo.goexe.abi import FROM_DWARF, Assigned, assign
from undergo.goexe.dwarf import Dwarf
from undergo.goexe.executable import GoExecutable
from undergo.goexe.types import Field, GoType, Kind, Parameter

_XMM0 = 17


def command_of(go: str, name: str) -> Path:
    """A command of Go's distribution with debug information, compiled once."""
    target = CACHE / "commands" / f"{name.rpartition('/')[2]}-{Path(go).parent.parent.parent.name}"
    if not target.exists():
        environment = os.environ | {
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
            "GOPROXY": "off",
            "CGO_ENABLED": "0",
            "GOCACHE": str(CACHE / "gocache"),
        }
        source = subprocess.run(
            [go, "env", "GOROOT"], capture_output=True, text=True, check=True, env=environment
        )
        folder = Path(source.stdout.strip()) / "src"
        if not (folder / name).exists():
            pytest.skip("this Go comes without the sources of its commands")
        subprocess.run(
            [go, "build", "-o", str(target), name], cwd=folder, env=environment, check=True, timeout=600
        )
    return target


def disagreements(path: Path, *, believing: bool) -> Iterator[tuple[str, bool]]:
    """Every parameter whose register at entry is named, and whether it is another one than ours.

    Left out is what debug information puts where it puts an earlier one: that is wrong where a function begins by
    exchanging them, as math/big.(*Int).And, or takes one for the other, as go/types.(*unifier).nify.

    `believing`: we are told what is named, which helps where parameters are left out.
    """
    with GoExecutable.open(path) as executable:
        dwarf = Dwarf(executable.elf)
        for function in executable.functions:
            if function.assembly or function.wrapper:
                continue
            signature = dwarf.signature(executable.functions.full_name(function.index), function.entry)
            if signature is None:
                continue
            given = signature.parameters
            if not believing:
                given = tuple(replace(one, register=None, stack=None, on_stack=False) for one in given)
            ours, _ = assign(given, signature.results, dwarf.types)
            before = set()
            for named, own in zip(signature.parameters, ours, strict=True):
                if named.register is not None and named.register not in before:
                    before.add(named.register)
                    yield f"{function.name} {named.name}", first_register(own) != _hardware(named.register)


def first_register(assigned: Assigned) -> int | str | None:
    """Of the first part: a number of an integer register, or "X0"."""
    if not assigned.pieces:
        return None
    first = assigned.pieces[0]
    return first.register if first.register is not None else f"X{first.xmm}"


def _hardware(register: int) -> int | str:
    return FROM_DWARF[register] if register < _XMM0 - 1 else f"X{register - _XMM0}"


@pytest.mark.parametrize("name", ["cmd/gofmt", "cmd/vet"])
@pytest.mark.parametrize("go", ["1.21", "1.24", "1.27"])
def test_every_function_of_a_big_program(go_toolchains: dict[str, str], go: str, name: str) -> None:
    """The first register of every parameter that has one at the function's entry."""
    if go not in go_toolchains:
        pytest.skip(f"no Go {go}")
    path = command_of(go_toolchains[go], name)
    found = list(disagreements(path, believing=True))
    assert 3000 < len(found)
    assert set() == {parameter for parameter, other in found if other}
    if go != "1.21":  # which leaves parameters called _ out
        unaided = disagreements(path, believing=False)
        assert set() == {parameter for parameter, other in unaided if other}


TYPES = {
    1: GoType("int", Kind.INT, 8),
    2: GoType("uint8", Kind.UINT8, 1),
    3: GoType("float64", Kind.FLOAT64, 8),
    4: GoType("[0]int", Kind.ARRAY, 0, elem=1),
    5: GoType("[1]float64", Kind.ARRAY, 8, elem=3, count=1),
    6: GoType("[2]uint8", Kind.ARRAY, 2, elem=2, count=2),
    7: GoType("main.T", Kind.STRUCT, 16, fields=(Field("_", 0, 2), Field("f", 8, 3))),
    8: GoType("string", Kind.STRING, 16),
    9: GoType("main.U", Kind.STRUCT, 24, fields=(Field("a", 0, 6), Field("b", 8, 8))),
    10: GoType("complex128", Kind.COMPLEX128, 16),
}


def places(parameters: Sequence[int], results: Sequence[int] = ()) -> list[list[str | int]]:
    """Registers by the order Go takes them in, or bytes from the CFA."""
    of = [[Parameter("", TYPES[place]) for place in each] for each in (parameters, results)]
    order = (0, 3, 1, 7, 6, 8, 9, 10, 11)
    return [
        [one.stack]
        if one.stack is not None
        else [f"X{p.xmm}" if p.register is None else f"I{order.index(p.register)}" for p in one.pieces]
        for one in [*assign(*of, TYPES)[0], *assign(*of, TYPES)[1]]
    ]


@pytest.mark.parametrize(
    ("parameters", "results", "expected"),
    [
        ([1, 3, 2], [], [["I0"], ["X0"], ["I1"]]),
        ([7, 8], [1], [["I0", "X0"], ["I1", "I2"], ["I0"]]),  # a blank field has its register
        (
            [1] * 8 + [8, 1],
            [],
            [*[[f"I{n}"] for n in range(8)], [0], ["I8"]],
        ),  # what does not fit leaves the rest
        ([5, 10], [], [["X0"], ["X1", "X2"]]),
        ([6, 4, 6, 2], [6], [[0], [8], [8], ["I0"], [16]]),  # what has no size aligns the stack
        ([9, 6], [9, 6], [[0], [24], [32], [56]]),
        ([3] * 16, [3], [*[[f"X{n}"] for n in range(15)], [0], ["X0"]]),
    ],
)
def test_the_rules(parameters: list[int], results: list[int], expected: list[list[str | int]]) -> None:
    """abi-internal.md on small signatures."""
    assert expected == places(parameters, results)


def test_a_parameter_that_is_left_out() -> None:
    """A register further on, or a place on the stack further on, says that something went before."""
    given = [Parameter("a", TYPES[1], register=3), Parameter("b", TYPES[6], stack=4)]
    ours, _ = assign([*given, Parameter("c", TYPES[1], stack=16, on_stack=True)], [], TYPES)
    assert [3, None, None] == [first_register(one) for one in ours]
    assert [None, 4, 16] == [one.stack for one in ours]
