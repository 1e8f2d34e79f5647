"""What `undergo doctor` shows: what this machine can do, and what to do about the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from undergo.views.inspect import wrap
from undergo.views.style import PLAIN, Palette, cells, escape, pad

State = Literal["ok", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to one question about this machine."""

    name: str
    state: State
    detail: str = ""
    remedy: str = ""  # what to do, if it is not ok


def doctor_lines(checks: Sequence[Check], style: Palette = PLAIN, width: int = 80) -> list[str]:
    """One line per check, remedies below those that are not ok, and a summary as the last line."""
    colours = {"ok": style.good, "missing": style.hot, "unknown": style.warm}
    names = max((cells(check.name) for check in checks), default=0)
    lines = []
    left = names + 13
    for check in checks:
        first, *rest = wrap(escape(check.detail), width - left)
        state = style.paint(colours[check.state], pad(check.state, 7))
        lines.append(f"  {state}  {pad(check.name, names)}  {first}".rstrip())
        lines += [" " * left + line for line in rest]
        if check.remedy and check.state != "ok":
            remedy = wrap(escape(check.remedy), width - left - 3)
            lines += [f"{' ' * left}{'-> ' if not i else '   '}{line}" for i, line in enumerate(remedy)]
    counts = {state: sum(check.state == state for check in checks) for state in colours}
    if counts["ok"] == len(checks):
        return [*lines, "", style.paint(style.good, "everything undergo needs is here")]
    parts = [style.paint(colours[state], f"{count} {state}") for state, count in counts.items() if count]
    return [*lines, "", ", ".join(parts)]
