"""The latency table: one row per function, widest share of time first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from undergo.events.calls import Latency
from undergo.events.row_values import Rest, RowValue
from undergo.views.split import BINS, LEGEND, TITLES, largest_waits, ns_of, parts, share
from undergo.views.style import PLAIN, Palette, cells, compact, escape, pad, quote, shorten

BLOCKS = " ▏▎▍▌▋▊▉█"
BAR = 10  # columns of the share bar
MIN_NAME = 40  # while names have fewer columns than this, or than they need, figures are left out
MIN_NAME_FOR_MAX = 28  # the same for MAX, which goes last
WAITS = 3  # wait reasons of a function that are named
WAIT_FROM = 0.05  # from this share of its time on

SORT_KEYS: dict[str, Callable[[Latency], int]] = {
    "sum": lambda row: row.sum_ns,
    "calls": lambda row: row.calls,
    "panics": lambda row: row.panics,
    "open": lambda row: row.open,
    "min": lambda row: row.min_ns,
    "p50": lambda row: row.p50_ns,
    "p90": lambda row: row.p90_ns,
    "p99": lambda row: row.p99_ns,
    "max": lambda row: row.max_ns,
    **{bin: partial(lambda bin, row: ns_of(row.split, bin) if row.split else 0, bin) for bin in BINS},
}


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[Latency], str]
    time: Callable[[Latency], int] | None = None  # of a duration: what colours it
    right: bool = True
    give_up: int = 0  # order in which columns go when it gets narrow; 0 stays
    bin: str = ""  # of a share: its bin


def latency_table(
    rows: Sequence[Latency],
    names: Sequence[str] | Mapping[int, str],
    style: Palette = PLAIN,
    width: int = 80,
    sort: str = "sum",
    *,
    exact: bool = False,
) -> list[str]:
    """The table as lines of at most `width` columns, if that is 80 or more.

    `names` are the functions' names by FunctionPlan.id; `sort` is one of `SORT_KEYS`, largest first. `exact` is true
    of recordings: their percentiles are not from histograms, and they may hold calls without clocks.
    """
    called = sorted((r for r in rows if r.calls), key=SORT_KEYS[sort], reverse=True)
    silent = len(rows) - len(called)
    note = f"{silent:,} function{' was' if silent == 1 else 's were'} not called" if silent else ""
    if not called:
        return [style.paint(style.dim, note or "no function was called")]
    columns = _columns(called)
    labels = [escape(names[row.func]) for row in called]
    longest = max(map(cells, labels))
    body = {column.title: [column.cell(row) for row in called] for column in columns}

    def taken() -> int:
        return sum(max(cells(c.title), *map(cells, body[c.title])) + 2 for c in columns)

    hidden = []
    for goes in sorted((c for c in columns if c.give_up), key=lambda c: c.give_up):
        if goes not in columns:
            continue
        if taken() + min(longest, MIN_NAME_FOR_MAX if goes.title == "MAX" else MIN_NAME) > width:
            # the bins go all at once: they are said in words then
            for column in [c for c in columns if c is goes or (goes.bin and c.bin)]:
                columns.remove(column)
                hidden.append(column.title)
    in_words = not any(column.bin for column in columns)
    labels = shorten(labels, max(width - taken(), 8))
    sizes = {c.title: max(cells(c.title), *map(cells, body[c.title])) for c in columns}
    head = "  ".join(pad(c.title, sizes[c.title], c.right) for c in columns)
    lines = [style.paint(style.strong, f"{head}  FUNCTION")]
    for index, row in enumerate(called):
        fields = [_paint(c, row, pad(body[c.title][index], sizes[c.title], c.right), style) for c in columns]
        lines.append("  ".join([*fields, labels[index]]))
        lines += _where(row, in_words, style, width)
    foot = [LEGEND] if any(row.split for row in called) and not in_words else []
    if not exact:
        foot.append("p50, p90, p99 are interpolated in buckets up to 25 % wide; the rest is exact")
    if shown := [title for title in hidden if title not in ("SHARE", *TITLES.values())]:
        foot.append(f"too narrow for {', '.join(shown)}")
    if lost := sum(row.unsplit for row in called):
        missed = "have no split" if exact else "missed a status change"
        foot.append(f"{lost:,} calls {missed}: they count in all but the bins")
    if note:
        foot.append(note)
    return [*lines, *([""] if foot else []), *(style.paint(style.dim, line) for line in foot)]


def value_text(value: RowValue) -> str:
    """What a row of `--by` is of, as Go would write it."""
    if isinstance(value, Rest):
        return f"<{value.value}>"
    if isinstance(value, str):
        return quote(value.encode("utf-8", "surrogateescape"))
    return str(value).lower() if isinstance(value, bool) else str(value)


def bar(share: float, width: int) -> str:
    """`share` of `width` columns, in eighths of one; at least one eighth for anything above 0."""
    eighths = max(round(min(share, 1.0) * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def _columns(rows: Sequence[Latency]) -> list[_Column]:
    total = sum(row.sum_ns for row in rows) or 1
    columns = []
    if len({row.pid for row in rows}) > 1:
        columns.append(_Column("PID", lambda row: str(row.pid)))
    columns.append(_Column("CALLS", lambda row: f"{row.calls:,}"))
    if any(row.panics for row in rows):
        columns.append(_Column("PANICS", lambda row: f"{row.panics:,}" if row.panics else ""))
    if any(row.open for row in rows):
        columns.append(_Column("OPEN", lambda row: f"{row.open:,}" if row.open else "", give_up=4))
    give_up = {"min": 2, "p90": 3, "max": 5}
    for key in ("min", "p50", "p90", "p99", "max", "sum"):
        time = SORT_KEYS[key]
        columns.append(_Column(key.upper(), _duration_of(time), time, give_up=give_up.get(key, 0)))
    if any(row.split for row in rows):
        columns += [
            _Column(TITLES[bin], partial(_share_of, bin), give_up=6, bin=bin)
            for bin in BINS
            if bin in ("running", "waiting") or any(r.split and ns_of(r.split, bin) for r in rows)
        ]
    columns.append(_Column("SHARE", lambda row: bar(row.sum_ns / total, BAR), right=False, give_up=1))
    return columns


def _share_of(bin: str, row: Latency) -> str:
    return share(ns_of(row.split, bin), row.sum_ns - row.unsplit_ns) if row.split else "-"


def _where(row: Latency, in_words: bool, style: Palette, width: int) -> list[str]:
    """The line below a function: what it waited for, or all its bins if there are no columns for them."""
    whole = row.sum_ns - row.unsplit_ns
    if row.split is None or not whole:
        return []
    if in_words:
        found = [(bin, words, ns) for bin, words, ns in parts(row.split) if ns / whole >= WAIT_FROM]
    else:
        waits = largest_waits(row.split.waits)[:WAITS]
        found = [("waiting", escape(reason), ns) for reason, ns in waits if ns / whole >= WAIT_FROM]
    line, used = "", 0
    for bin, words, ns in found:
        text = f"{words} {share(ns, whole)} {compact(ns)}"
        if used and used + 3 + cells(text) > width - 6:
            break
        line += (" · " if used else "") + style.paint(style.of_bin(bin), text)
        used += cells(text) + 3
    return [f"      {line}"] if line else []


def _duration_of(time: Callable[[Latency], int]) -> Callable[[Latency], str]:
    # Of a function whose calls are all still open nothing is known yet: a 0 would be a lie.
    return lambda row: compact(time(row)) if row.calls > row.open else "-"


def _paint(column: _Column, row: Latency, text: str, style: Palette) -> str:
    if column.title == "SHARE":
        return style.paint(style.accent, text)
    if column.bin:
        heavy = row.split is not None and ns_of(row.split, column.bin) > (row.sum_ns - row.unsplit_ns) / 4
        return style.paint(style.of_bin(column.bin) if heavy else style.dim, text)
    if column.title == "PANICS" and row.panics:
        return style.paint(style.hot, text)
    # SUM grows with the length of the trace and so says nothing by its magnitude.
    if column.time is not None and column.title != "SUM" and row.calls > row.open:
        return style.paint(style.by_magnitude(column.time(row)), text)
    return text
