"""What `undergo inspect` shows: an executable's facts, in groups of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from undergo.views.style import PLAIN, Palette, cells, escape, pad


@dataclass(frozen=True, slots=True)
class Group:
    """Facts that belong together."""

    title: str
    rows: tuple[tuple[str, str], ...]  # (key, value); "" as value means unknown


def inspect_lines(groups: Sequence[Group], style: Palette = PLAIN, width: int = 80) -> list[str]:
    """The groups below one another, keys aligned across all, long values continued below."""
    keys = max((cells(key) for group in groups for key, _ in group.rows), default=0)
    lines: list[str] = []
    for group in groups:
        if lines:
            lines.append("")
        lines.append(style.paint(style.strong, group.title))
        for key, value in group.rows:
            first, *rest = (
                wrap(escape(value), width - keys - 4) if value else [style.paint(style.dim, "unknown")]
            )
            lines.append(f"  {style.paint(style.dim, pad(key, keys))}  {first}")
            lines += [" " * (keys + 4) + line for line in rest]
    return lines


def wrap(text: str, width: int) -> list[str]:
    """`text` broken at spaces into lines of at most `width` columns; longer words stay whole, to be copied."""
    lines: list[str] = []
    for word in text.split():
        if lines and cells(lines[-1]) + 1 + cells(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines or [""]
