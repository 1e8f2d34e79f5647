"""What `undergo list` shows: the functions of an executable, and why some cannot be traced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from undergo.goexe.function import Function
from undergo.views.style import PLAIN, Palette, escape


@dataclass(frozen=True, slots=True)
class Listed:
    """One function to list."""

    function: Function
    exits: int | None = None  # None if they were not looked for
    reason: str = ""  # why it cannot be traced, "" if it can
    note: str = ""  # what else there is to know


def function_lines(rows: Iterable[Listed], style: Palette = PLAIN) -> Iterator[str]:
    """A header and one line per function; names are never cut, as people copy them into -f."""
    yield style.paint(style.strong, f"{'ADDRESS':>12}  EXITS  FUNCTION")
    for row in rows:
        function = row.function
        exits = "-" if row.exits is None else str(row.exits)
        where = f"{escape(function.file)}:{function.line}" if function.file else "?"
        name = escape(function.name)
        if row.reason:
            yield style.paint(style.dim, f"{function.entry:#12x}  {exits:>5}  {name}  {where}") + style.paint(
                style.warm, f"  not traceable: {escape(row.reason)}"
            )
        else:
            note = style.paint(style.dim, f"  {escape(row.note)}") if row.note else ""
            yield f"{function.entry:#12x}  {exits:>5}  {name}  {style.paint(style.dim, where)}{note}"
