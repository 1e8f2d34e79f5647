"""The runtime's layout from the table, and facts about the build."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from goimage import Image

from undergo.errors import GoVersionError
from undergo.goexe.executable import GoExecutable
from undergo.goexe.layout import layout_table

Opener = Callable[..., GoExecutable]


def test_the_table_has_every_version() -> None:
    """Go 1.17 to 1.27, each with where its row comes from."""
    table = layout_table()
    assert [f"1.{minor}" for minor in range(17, 28)] == list(table)
    assert all("origin" in row for row in table.values())


@pytest.mark.parametrize(
    ("go", "atomicstatus", "goid", "parent", "curg"),
    [
        ("go1.17", 144, 152, None, 192),
        ("go1.21.13", 144, 152, 272, 192),
        ("go1.24.11", 152, 160, 280, 192),
        ("go1.25.5", 144, 152, 272, 184),
        ("go1.27.3", 144, 152, 280, 184),
    ],
)
def test_known_offsets(
    opened: Opener, go: str, atomicstatus: int, goid: int, parent: int | None, curg: int
) -> None:
    """Offsets as measured with each version; the parent's goid exists from 1.21 on."""
    layout = opened(Image(go)).layout
    assert (layout.g_atomicstatus, layout.g_goid) == (atomicstatus, goid)
    assert (layout.g_parent_goid, layout.m_curg) == (parent, curg)
    assert layout.source == f"table ({'.'.join(go.split('.')[:2])})"


def test_an_unknown_version_without_dwarf(opened: Opener) -> None:
    """A Go from the future can be listed, but its layout is refused with a hint."""
    executable = opened(Image("go1.99.1"))
    assert executable.functions.named("main.add") is not None
    with pytest.raises(GoVersionError, match=r"go1\.99\.1 is not known") as caught:
        _ = executable.layout
    assert "go1.27" in caught.value.hint


def test_build_mode(opened: Opener) -> None:
    """How it was linked, for people and for the plan."""
    executable = opened(Image(pie=True))
    assert executable.build_mode.pie
    assert str(executable.build_mode) == "PIE, static, stripped, PGO"
    assert executable.dwarf_version is None
    assert executable.build_id == ""
