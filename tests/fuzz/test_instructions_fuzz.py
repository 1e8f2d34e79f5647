"""Whatever bytes a function has, planning it neither crashes nor hangs, and what it chooses is sound."""

from __future__ import annotations

import os

from hypothesis import example, given, settings
from hypothesis import strategies as st

from undergo.errors import UsageError
from undergo.goexe import instructions
from undergo.goexe.function import Function
from undergo.goexe.instructions import Emulation
from undergo.plan.patterns import compile_pattern, near_misses
from undergo.plan.probe_plan import CookieFlag, cookie
from undergo.plan.sites import place

EXAMPLES = int(os.environ.get("UNDERGO_FUZZ_EXAMPLES", "400"))
ENTRY = 0x401000
# Pieces of prologues and epilogues, so that random functions get past the first instruction.
PIECES = [
    *map(
        bytes.fromhex,
        ("493b6610", "7605", "4c8d6424e8", "4d3b6610", "55", "4889e5", "4883ec18", "4883c418", "5d"),
    ),
    *map(
        bytes.fromhex,
        ("c3", "90", "7402", "ebf0", "eb10", "e800000000", "e9fbffffff", "48894c2408", "ff24c1"),
    ),
    *map(bytes.fromhex, ("0f86f0ffffff", "f00fb18b90000000", "ffe0", "cc", "06", "62", "64488b0c25f8ffffff")),
]
code = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
deltas = st.lists(st.tuples(st.integers(0, 60), st.integers(-8, 1 << 20)), max_size=8)


@settings(max_examples=EXAMPLES, deadline=2000)
@given(code=code, steps=deltas, assembly=st.booleans())
@example(code=b"", steps=[], assembly=False)
@example(code=b"\xeb\xfe", steps=[], assembly=False)
def test_place_never_fails(code: bytes, steps: list[tuple[int, int]], assembly: bool) -> None:
    """Every site lies on an instruction of the function, can be probed, and fits a cookie; no entry has a reason."""
    pcsp, at = [], ENTRY
    for step, delta in steps:
        pcsp.append((at, at + step, delta))
        at += step
    function = Function(0, "f", ENTRY, ENTRY + len(code), "", 0, 0, False, assembly)
    placement = place(function, code, pcsp, 0)
    if placement.entry is None:
        assert placement.issues
        assert () == placement.exits
        return
    starts = {instruction.ip: instruction.len for instruction in instructions.decode(code, ENTRY)}
    for site in (placement.entry, *placement.exits):
        assert starts[site.address] == len(site.raw)
        assert code[site.offset : site.offset + len(site.raw)] == site.raw
        kind = instructions.emulation(site.raw)
        assert kind != Emulation.REFUSED
        assert site.emulated == (kind < Emulation.STEPPED)
        assert site.sp_to_cfa >= 8
        assert 1 == cookie(1, 0, site) & 0xFFFFFF
        assert bool(site.flags & CookieFlag.G_FROM_TLS) == assembly
    assert placement.exits or placement.issues or placement.entry.flags & CookieFlag.BARE_RET


@settings(max_examples=EXAMPLES, deadline=2000)
@given(raw=st.binary(max_size=16))
def test_emulation_is_total(raw: bytes) -> None:
    """Every byte string has an answer, and a LOCK or segment prefix always the same one."""
    assert instructions.emulation(raw) in Emulation
    for prefix in (b"\xf0", b"\x2e", b"\x36"):
        assert Emulation.REFUSED == instructions.emulation(prefix + raw)


@settings(max_examples=EXAMPLES, deadline=2000)
@given(text=st.text(max_size=30), names=st.lists(st.text(max_size=20), max_size=20))
def test_patterns_never_fail(text: str, names: list[str]) -> None:
    """A pattern compiles or is a usage error; a glob without wildcards matches exactly itself."""
    near_misses(text, names)
    try:
        pattern = compile_pattern(text)
    except UsageError as error:
        assert error.message
        return
    if not text.startswith("/") and not set(text) & set("*?"):
        assert [name for name in names if name == text] == [name for name in names if pattern.matches(name)]
