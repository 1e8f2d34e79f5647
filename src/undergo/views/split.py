"""Where time went, for people: `cpu 1.2 ms · chan receive 40 ms`, and shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from undergo.events.calls import Split
from undergo.views.style import Palette, compact, escape

#: Bins in the order they are shown: title of a column, what it is called in a line, how to get it.
BINS: Final = ("running", "descheduled", "syscall", "runnable", "waiting")
TITLES: Final = dict(zip(BINS, ("RUN", "DESC", "SYSC", "RNBL", "WAIT"), strict=True))
LEGEND: Final = (
    "of SUM: RUN on a CPU, DESC taken off it by the kernel, "
    "SYSC system calls, RNBL waits for a P, WAIT blocked"
)
_WORDS: Final = dict(zip(BINS[:-1], ("cpu", "descheduled", "syscall", "runnable"), strict=True))
_SHOWN: Final = 0.01  # parts of the whole below this are left out where there is little room


def ns_of(split: Split, bin: str) -> int:
    """ns in one of `BINS`."""
    return int(getattr(split, f"{bin}_ns"))


def total(split: Split) -> int:
    """The wall time: all bins together, in ns."""
    return sum(ns_of(split, bin) for bin in BINS)


def largest_waits(waits: Mapping[str, int]) -> list[tuple[str, int]]:
    """Reasons and ns, the longest first."""
    return sorted(waits.items(), key=lambda item: (-item[1], item[0]))


def parts(split: Split) -> Iterator[tuple[str, str, int]]:
    """(bin, words, ns) of all that is there: the bins in order, the waits by reason, the longest first."""
    for bin, words in _WORDS.items():
        if ns := ns_of(split, bin):
            yield bin, words, ns
    named = 0
    for reason, ns in largest_waits(split.waits):
        yield "waiting", escape(reason) or "waiting", ns
        named += ns
    if split.waiting_ns > named:
        yield "waiting", "waiting, reason lost", split.waiting_ns - named


def words(split: Split, style: Palette) -> str:
    """`cpu 1.20 ms · chan receive 40.1 ms`, without what is less than a hundredth, the largest part at least."""
    found = list(parts(split))
    least = min(total(split) * _SHOWN, max((ns for _, _, ns in found), default=0))
    return style.paint(style.dim, " · ").join(
        style.paint(style.of_bin(bin), f"{text} {compact(ns)}") for bin, text, ns in found if ns >= least
    )


def share(part: int, whole: int) -> str:
    """A share in at most 4 columns: `0`, `<1%`, `37%`, `100%`; never rounded to all or nothing."""
    if not part or not whole:
        return "" if not part else "?"
    percent = round(100 * part / whole)
    if percent == 0:
        return "<1%"
    return "99%" if percent == 100 and part < whole else f"{percent}%"
