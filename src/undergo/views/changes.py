"""What changed between recordings: each function before and after, one line above the other."""

from __future__ import annotations

from collections.abc import Sequence

from undergo.analysis.changes import Change, Side, Verdict, value_of
from undergo.views.split import BINS
from undergo.views.style import PLAIN, Palette, cells, compact, escape, pad, shorten

_TIMES = ("mean", "p50", "p99")
_WORDS = {"running": "cpu"}
_SHOWN = 0.01  # changes of bins below this part of the mean are left out
_LEGEND = (
    "+ and - in colour are more than what varies from one stretch of time to the next; ~ is not, ? cannot be told",
    "the lines below: what changed per call, by where the time went",
)


def change_lines(rows: Sequence[Change], style: Palette = PLAIN, width: int = 80) -> list[str]:
    """A table with two lines per function, and a third where its time went elsewhere."""
    if not rows:
        return [style.paint(style.dim, "no function was called in either")]
    counts = [_calls(side) for row in rows for side in (row.before, row.after)]
    first = max(5, *map(len, counts))
    lead = "  ".join(
        [pad("", 6), pad("CALLS", first, True), *(f"{name.upper():>8} {'':6}" for name in _TIMES)]
    )
    labels = shorten([escape(row.name) for row in rows], max(width - cells(lead) - 2, 24))
    lines = [style.paint(style.strong, f"{lead}  FUNCTION")]
    for row, label in zip(rows, labels, strict=True):
        lines += [
            _line("before", row, row.before, first, style, label),
            _line("after", row, row.after, first, style),
        ]
        lines += _spent(row, style)
    return [*lines, "", *(style.paint(style.dim, line) for line in _LEGEND)]


def _line(when: str, row: Change, side: Side | None, first: int, style: Palette, label: str = "") -> str:
    figures = []
    for metric in _TIMES:
        figure = f"{compact(round(value_of(side, metric) or 0)) if side else '-':>8}"
        percent = _percent(row, metric) if when == "after" else ""
        figures.append(f"{figure} {_judged(pad(percent, 6), row.verdicts.get(metric), style)}")
    note = ""
    if side is None:
        silent = "not called" if when == "before" else "not called any more"
        recorded = row.recorded[when == "after"]
        note = style.paint(style.warm, f"  {silent if recorded else 'not recorded'}")
    elif row.before and row.after and when == "after" and row.before.panics != row.after.panics:
        note = style.paint(style.hot, f"  panics {row.before.panics:,} → {row.after.panics:,}")
    cells_of = [style.paint(style.dim, pad(when, 6)), pad(_calls(side), first, True), *figures]
    return ("  ".join(cells_of) + (f"  {label}" if label else "") + note).rstrip()


def _calls(side: Side | None) -> str:
    return f"{side.calls:,}" if side else "-"


def _percent(row: Change, metric: str) -> str:
    difference = row.difference(metric)
    if difference is None or row.before is None:
        return ""
    mark = {"same": "~", "unknown": "?"}.get(row.verdicts.get(metric, "unknown"), "")
    before = value_of(row.before, metric)
    if not before:
        return mark if not difference else f"{mark}new"
    share = 100 * difference / before
    if abs(share) >= 1000:
        return f"{mark}x{1 + share / 100:.0f}"
    return f"{mark}{share:+.0f}%" if abs(share) >= 0.5 else f"{mark}<1%"


def _judged(text: str, verdict: Verdict | None, style: Palette) -> str:
    sgr = {"more": style.hot, "less": style.good}.get(verdict or "", style.dim)
    return style.paint(sgr, text) if text.strip() else text


def _spent(row: Change, style: Palette) -> list[str]:
    """The bins that changed, the most first."""
    if row.before is None or row.after is None:
        return []
    least = max(row.before.mean, row.after.mean) * _SHOWN
    found = []
    for bin in BINS:
        difference = row.difference(bin)
        if difference is not None and abs(difference) >= max(least, 1):
            found.append((abs(difference), bin, difference))
    parts = []
    for size, bin, difference in sorted(found, reverse=True):
        verdict = row.verdicts.get(bin)
        mark = {"same": "~", "unknown": "?"}.get(verdict or "unknown", "")
        text = f"{_WORDS.get(bin, bin)} {mark}{'+' if difference > 0 else '-'}{compact(round(size))}"
        parts.append(_judged(text, verdict, style))
    return [f"        {style.paint(style.dim, ' · ').join(parts)}"] if parts else []
