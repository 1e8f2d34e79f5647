"""The one definition of the wire structs, as Python reads it from the object."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from undergo.kernel.btf import Btf
from undergo.kernel.program import names, object_bytes
from undergo.plan.probe_plan import CookieFlag

HEADER = Path(__file__).parents[3] / "src/undergo/bpf/undergo.h"
BTF = Btf(object_bytes())


def test_a_call_record_fills_two_cache_lines_with_its_header() -> None:
    """120 bytes and the ring's 8: a power of two, so that records never straddle the end of the ring."""
    assert 128 == BTF.dtype("call_record").itemsize + 8


def test_nested_structs_and_arrays_have_their_shapes() -> None:
    """A goroutine holds eight inline frames."""
    frames = BTF.dtype("goroutine")["frames"]
    assert (8,) == frames.shape
    assert (24,) == frames.base["before"]["waits"].shape
    assert ("depth", "start", "id", "func", "announced") == frames.base.names[:5]


def test_enums_are_read_in_order() -> None:
    """Drop causes have names for people."""
    causes = names([name for name in BTF.enum("drop_cause") if name != "DROP_CAUSES"], "DROP_")
    assert "ring full" == causes[0]
    assert len(causes) == BTF.enum("drop_cause")["DROP_CAUSES"] == BTF.dtype("tally")["dropped"].shape[0]


def test_knobs_lie_apart() -> None:
    """No two variables of .rodata overlap."""
    places = sorted(BTF.variables(".rodata").values())
    assert all(at + size <= after for (at, size), (after, _) in pairwise(places))


def test_cookie_flags_agree_with_the_header() -> None:
    """plan/ and bpf/undergo.h mean the same bits."""
    written = dict(re.findall(r"COOKIE_(RETRY_CHECK|G_FROM_TLS|BARE_RET) = (\d+)", HEADER.read_text()))
    assert {flag.name: int(flag) for flag in CookieFlag if flag} == {
        name: int(bit) for name, bit in written.items()
    }


@pytest.mark.parametrize("damaged", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(58)])
def test_what_is_no_object_is_refused(damaged: bytes) -> None:
    """Bytes without BTF raise an error and do not read beyond their end."""
    with pytest.raises((ValueError, KeyError, IndexError)):
        Btf(damaged)


def test_unknown_names_are_refused() -> None:
    """A struct or a section that is not there is named."""
    with pytest.raises(KeyError, match="nothing"):
        BTF.dtype("nothing")
    with pytest.raises(KeyError, match="nowhere"):
        BTF.variables("nowhere")
