"""The strings of runtime.waitReasonStrings, by version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import toolchains

from undergo.goexe.layout import layout_table
from undergo.goexe.wait_reasons import COLLECTION, MOST, PREEMPTED, wait_reasons

VERSIONS = [tuple(map(int, version.split("."))) for version in layout_table()]


@pytest.mark.parametrize(
    ("version", "number", "reason"),
    [
        ((1, 17), 25, "preempted"),
        ((1, 19), 21, "timer goroutine (idle)"),
        ((1, 20), 21, "sync.Mutex.Lock"),
        ((1, 21), 28, "preempted"),
        ((1, 22), 36, "coroutine"),
        ((1, 24), 24, "sync.WaitGroup.Wait"),
        ((1, 25), 18, "GOMAXPROCS updater (idle)"),
        ((1, 25), 19, "semacquire"),
        ((1, 26), 13, "semacquire"),
        ((1, 27), 46, "cleanup wait"),
    ],
)
def test_names_by_version(version: tuple[int, int], number: int, reason: str) -> None:
    """The same number means different waits in different versions."""
    assert reason == wait_reasons(version)[number]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"1.{version[1]}")
def test_every_known_version_has_its_names(version: tuple[int, int]) -> None:
    """All versions whose layout is known: no reason given comes first, none is there twice, the rest is numbered."""
    reasons = wait_reasons(version)
    known = [reason for reason in reasons[1:] if not reason.startswith("reason ")]
    assert ("", MOST) == (reasons[0], len(reasons))
    assert len(known) >= 26
    assert all(known)
    assert len(known) == len(set(known))
    assert {COLLECTION, PREEMPTED, "sleep", "select", "chan receive", "chan send", "IO wait"} <= set(known)
    assert tuple(f"reason {number}" for number in range(len(known) + 1, MOST)) == reasons[len(known) + 1 :]


@pytest.mark.parametrize("version", [(1, 16), (1, 28), (1, 170), (2, 7), (0, 0)])
def test_an_unknown_version_has_numbers(version: tuple[int, int]) -> None:
    """They are shown as they are; only 0 means the same in every version."""
    assert ("", *(f"reason {number}" for number in range(1, MOST))) == wait_reasons(version)


@pytest.mark.skipif(not toolchains.commands(), reason="no Go toolchain: set UNDERGO_GO")
@pytest.mark.parametrize("go", toolchains.commands(), ids=lambda go: toolchains.version(go))
def test_names_are_those_of_the_toolchain_s_own_runtime(go: str) -> None:
    """Constants and strings as its source has them."""
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True, timeout=60)
    source = Path(root.stdout.strip(), "src/runtime/runtime2.go").read_text()
    constants, _, rest = source.partition("var waitReasonStrings")
    names = re.findall(r"^\t(waitReason\w+)(?:\s+waitReason = iota)?\s*(?://.*)?$", constants, re.MULTILINE)
    strings = dict(re.findall(r'^\t(waitReason\w+):\s+"(.*)",$', rest.partition("\n}")[0], re.MULTILINE))
    major, minor = re.findall(r"\d+", toolchains.version(go))[:2]
    assert len(names) >= 27
    assert [strings[name] for name in names] == list(wait_reasons((int(major), int(minor)))[: len(names)])
    assert f"reason {len(names)}" == wait_reasons((int(major), int(minor)))[len(names)]
