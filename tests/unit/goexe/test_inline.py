"""The index of inlined calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from goimage import FUNCTIONS, Image

from undergo.goexe.executable import GoExecutable

Opener = Callable[..., GoExecutable]


@pytest.mark.parametrize("go", ["go1.17.13", "go1.19.8", "go1.20.14", "go1.24.11", "go1.27.3"])
@pytest.mark.parametrize("pie", [False, True])
def test_sites_are_counted(opened: Opener, go: str, pie: bool) -> None:
    """Both record sizes, funcdata as pointers (1.17) and as offsets: every inlined call is counted once."""
    inlined = opened(Image(go, pie=pie)).inlined
    assert len(inlined) == 3
    assert inlined.counts == {"main.tiny": 2, "main.add": 1}
    assert inlined.sites("main.tiny") == 2
    assert inlined.sites("main.main") == 0


def test_callers_are_rows(opened: Opener) -> None:
    """`callers` says into which functions, and how often into each."""
    executable = opened()
    assert executable.inlined.callers("main.tiny") == {1: 1, 4: 1}
    assert executable.inlined.callers("main.nothing") == {}


def test_only_inlined_leaves_functions_out(opened: Opener) -> None:
    """A function that also has code of its own is not reported as only inlined."""
    assert opened().inlined.only_inlined(lambda name: name.startswith("main.")) == {"main.tiny": 2}


def test_no_inlining_at_all(opened: Opener) -> None:
    """A program built without inlining has an empty index."""
    functions = tuple(fn for fn in FUNCTIONS if not fn.inlined)
    inlined = opened(Image(functions=functions)).inlined
    assert len(inlined) == 0
    assert inlined.counts == {}
