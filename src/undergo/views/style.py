"""What every view shares: when there is colour, what it means, how durations and foreign text are written."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NS, US, MS, S = 1, 1_000, 1_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Palette:
    """Escape sequences by meaning; all empty without colour. `reset` ends any of them."""

    reset: str = ""
    dim: str = ""  # there for completeness, not for reading
    strong: str = ""  # headings
    good: str = ""
    warm: str = ""  # worth a look: milliseconds, a caveat
    hot: str = ""  # worth worrying: a tenth of a second, a panic, a loss
    accent: str = ""  # bars, file positions
    waiting: str = ""  # blocked

    def paint(self, sgr: str, text: str) -> str:
        """`text` in one of this palette's colours."""
        return f"{sgr}{text}{self.reset}" if sgr else text

    def of_bin(self, bin: str) -> str:
        """The colour of a bin of a goroutine's clock."""
        return {
            "running": self.good,
            "descheduled": self.hot,
            "syscall": self.accent,
            "runnable": self.warm,
            "waiting": self.waiting,
        }[bin]

    def by_magnitude(self, ns: int) -> str:
        """The colour of a duration: none below 1 ms, warm below 100 ms, else hot."""
        return "" if ns < MS else self.warm if ns < 100 * MS else self.hot


PLAIN = Palette()
COLOUR = Palette(
    reset="\x1b[0m",
    dim="\x1b[2m",
    strong="\x1b[1m",
    good="\x1b[32m",
    warm="\x1b[33m",
    hot="\x1b[31m",
    accent="\x1b[36m",
    waiting="\x1b[34m",
)


def palette(choice: str, isatty: bool, environment: Mapping[str, str]) -> Palette:
    """The palette for one stream, by --color=auto|always|never.

    With "auto": NO_COLOR (no-color.org) forbids it, then FORCE_COLOR (force-color.org) demands it, else
    there is colour on a terminal that is not dumb. A variable counts if it is not empty.
    """
    if choice != "auto":
        return COLOUR if choice == "always" else PLAIN
    if environment.get("NO_COLOR"):
        return PLAIN
    if environment.get("FORCE_COLOR"):
        return COLOUR
    return COLOUR if isatty and environment.get("TERM") != "dumb" else PLAIN


def escape(text: str) -> str:
    r"""`text` with everything that could act on a terminal made visible, as in `\x1b` or `\u202e`.

    That is whatever Unicode does not call printable: controls, bidirectional overrides, line separators,
    unassigned characters and the lone surrogates that stand for invalid UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cells(text: str) -> int:
    """Columns that printable `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def pad(text: str, width: int, right: bool = False) -> str:
    """`text` filled with spaces to `width` columns; to its left if `right`."""
    fill = " " * (width - cells(text))
    return fill + text if right else text + fill


def duration(ns: int) -> str:
    """A duration in 10 columns, cut (never rounded up) to three decimals: `     87 ns`, `  1.234 ms`.

    From 1000 s on decimals give way to digits, and from 10,000,000 s the text is wider.
    """
    if ns < US:
        return f"{ns:7d} ns"
    if ns < MS:
        return f"{ns // US:3d}.{ns % US:03d} us"
    if ns < S:
        return f"{ns // MS:3d}.{ns // US % 1000:03d} ms"
    if ns < 1000 * S:
        return f"{ns // S:3d}.{ns // MS % 1000:03d} s "
    decimals = max(0, 6 - len(str(ns // S)))
    whole, rest = divmod(ns // 10 ** (9 - decimals), 10**decimals)
    return f"{f'{whole}.{rest:0{decimals}d}' if decimals else whole:>7} s "


def quote(raw: bytes) -> str:
    r"""A Go string literal; what is not printable, or not UTF-8, is escaped as in Go: "\x1b\u202e"."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = []
    for c in text:
        if c in '"\\':
            out.append("\\" + c)
        elif c.isprintable():
            out.append(c)
        elif "\udc80" <= c <= "\udcff":
            out.append(f"\\x{ord(c) - 0xDC00:02x}")
        else:
            out.append(
                {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(c) or c.encode("unicode_escape").decode("ascii")
            )
    return f'"{"".join(out)}"'


def compact(ns: int) -> str:
    """A duration in three digits, at most 7 columns up to 9,999 s, rounded: `87 ns`, `1.23 ms`."""
    if ns < US:
        return f"{ns} ns"
    unit, name = (US, "us") if ns < 999_500 else (MS, "ms") if ns < 999_500_000 else (S, "s")
    value = ns / unit
    return (
        f"{value:.2f} {name}"
        if value < 9.995
        else f"{value:.1f} {name}"
        if value < 99.95
        else f"{value:.0f} {name}"
    )


def shorten(names: Sequence[str], width: int) -> list[str]:
    """`names`, each cut in the middle to `width` columns, but so that no two different ones look alike.

    Where every cut of a name would look like another, it is kept whole, even if it is too wide.
    """
    taken = {name for name in names if cells(name) <= width}
    done: dict[str, str] = {}
    for name in names:
        if name in done or cells(name) <= width or width < 3:
            done.setdefault(name, name)
            continue
        room = width - 1
        # The end of a Go name says most: keep what follows the last slash, give the rest to the path, at most
        # a third; then try other splits until one is unique.
        best = max(0, min(room // 3, room - cells(name[name.rfind("/") :])))
        heads = sorted(range(room), key=lambda head: abs(head - best))
        cuts = (f"{_head(name, head)}…{_tail(name, room - head)}" for head in heads)
        done[name] = next((cut for cut in cuts if cut not in taken), name)
        taken.add(done[name])
    return [done[name] for name in names]


def _head(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    while cells(text) > width:
        text = text[:-1]
    return text


def _tail(text: str, width: int) -> str:
    if text.isascii():
        return text[len(text) - width :]
    while cells(text) > width:
        text = text[1:]
    return text
