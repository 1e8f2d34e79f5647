"""What people are told while something is recorded, and when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from undergo.views.style import PLAIN, Palette, S, compact, escape


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording has, so far or in all."""

    calls: int = 0
    changes: int = 0  # of goroutines' states
    births: int = 0

    @property
    def events(self) -> int:
        """All of them."""
        return self.calls + self.changes + self.births

    def __add__(self, other: Recorded) -> Recorded:
        return Recorded(self.calls + other.calls, self.changes + other.changes, self.births + other.births)


def progress(
    elapsed: int,
    recorded: Recorded,
    rate: float,
    lost: int,
    size: int,
    style: Palette = PLAIN,
    *,
    writing: str = "",
) -> str:
    """One line for a terminal. `elapsed` in ns, `rate` in events/s, `size` in bytes on disk (or in memory).

    `writing` is what is being written meanwhile.
    """
    dropped = style.paint(style.hot, f" · {lost:,} lost") if lost else ""
    return (
        f"{style.paint(style.strong, clock(elapsed))}  {recorded.events:,} events"
        f" · {rate:,.0f}/s · {bytes_text(size)}{dropped}"
        f"{f' · writing {escape(writing)}' if writing else ''}"
    )


def clock(ns: int) -> str:
    """A time as on a clock: `0:07`, `12:34`, `1:02:03`."""
    seconds = ns // S
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def bytes_text(count: int) -> str:
    """Three digits and a unit: `987 B`, `1.23 MB`."""
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    if unit == "B":
        return f"{count} B"
    return (
        f"{value:.2f} {unit}"
        if value < 9.995
        else f"{value:.1f} {unit}"
        if value < 99.95
        else f"{value:.0f} {unit}"
    )


def done(
    path: str,
    recorded: Recorded,
    functions: int,
    wall: int,
    size: int,
    caveats: Sequence[str] = (),
    style: Palette = PLAIN,
) -> list[str]:
    """What was recorded, and what to do with it. `wall` in ns, `size` in bytes."""
    what = []
    if functions:
        what.append(f"{count_text(recorded.calls, 'call')} of {count_text(functions, 'function')}")
    if recorded.changes or recorded.births:
        what.append(count_text(recorded.changes, "state change"))
        what.append(count_text(recorded.births, "birth"))
    shown = escape(path)
    return [
        f"{style.paint(style.strong, shown)}: {', '.join(what)} in {compact(wall)} · {bytes_text(size)}",
        *(style.paint(style.warm, f"  {caveat}") for caveat in caveats),
        style.paint(style.dim, f"  undergo report {shown}"),
    ]


def count_text(number: int, noun: str) -> str:
    """`1 call`, `2,000 calls`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
