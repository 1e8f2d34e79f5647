"""What g.waitreason means: the strings of runtime.waitReasonStrings by Go version.

The table `wait_reasons.json` is made by `tools/make_runtime_tables.py`; patch releases do not differ. A reason
of a version that the table does not have is shown by its number.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Final

PREEMPTED: Final = "preempted"
COLLECTION: Final = "garbage collection"  # up to Go 1.19 waits for the collector leave no reason behind
MOST: Final = 64  # numbers that are looked up; Go 1.27 has 47


def wait_reasons(version: tuple[int, int]) -> tuple[str, ...]:
    """The reasons of a Go version such as (1, 24), by number; `MOST` of them, "" for "no reason given"."""
    text = resources.files("undergo.goexe").joinpath("wait_reasons.json").read_text("utf-8")
    known: list[str] = json.loads(text)["versions"].get(f"{version[0]}.{version[1]}") or [""]
    return tuple(known[number] if number < len(known) else f"reason {number}" for number in range(MOST))
