"""Functions that are refused, and their neighbours that are not."""

from __future__ import annotations

import pytest

from undergo.plan.untraceable import untraceable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("runtime.gogo", "switches stacks"),
        ("gogo", "switches stacks"),
        ("runtime.morestack_noctxt", "switches stacks"),
        ("runtime.asyncPreempt2", "switches stacks"),
        ("runtime.schedule", "scheduler"),
        ("runtime.sigtrampgo", "signal"),
        ("runtime.sigpanic", "signal"),
        ("_rt0_amd64_linux", "before there is a goroutine"),
        ("runtime.goexit1", "last thing"),
        ("runtime.cgocallback", "C's"),
        ("runtime.call1048576", "convention"),
        ("runtime.gcWriteBarrier2", "convention"),
        ("runtime.duffzero", "middle"),
        ("runtime.duffcopy", "middle"),
    ],
)
def test_refused(name: str, words: str) -> None:
    """The reason fits the function."""
    assert words in (untraceable(name) or "")


@pytest.mark.parametrize(
    "name",
    [
        "runtime.gopark",
        "runtime.mallocgc",
        "runtime.newproc1",
        "runtime.casgstatus",
        "runtime.ready",
        "main.gogo",
    ]
    + [
        "main.schedule",
        "runtime.setgcphase",
        "runtime.signal_recv",
        "runtime.gopanic",
        "runtime.main",
        "main.main",
    ],
)
def test_not_refused(name: str) -> None:
    """Functions that are called and return on the goroutine's stack can be traced."""
    assert untraceable(name) is None
