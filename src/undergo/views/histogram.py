"""A function's latencies as a histogram in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from undergo.events.calls import Latency
from undergo.views.latency import bar
from undergo.views.style import PLAIN, Palette, compact, escape, pad

MAX_ROWS = 20  # above, buckets are merged to powers of two

Bucket = tuple[int, int, int]  # (low_ns inclusive, high_ns exclusive, count), ascending


def histogram(row: Latency, name: str, style: Palette = PLAIN, width: int = 80) -> list[str]:
    """A heading and one line per bucket, with the percentiles beside the buckets they lie in."""
    plural = "" if row.calls == 1 else "s"
    heading = f"{style.paint(style.strong, escape(name))}  {row.calls:,} call{plural}"
    buckets: Sequence[Bucket] = row.histogram
    if not buckets:
        return [heading, style.paint(style.dim, "  no call has ended")]
    if len(buckets) > MAX_ROWS:
        buckets = merge(buckets)
    total = sum(count for _, _, count in buckets)
    most = max(count for _, _, count in buckets)
    marks = {"p50": row.p50_ns, "p90": row.p90_ns, "p99": row.p99_ns}
    digits = max(5, len(f"{most:,}"))
    room = max(width - digits - 46, 10)
    lines = [heading]
    before: int | None = None
    for low, high, count in buckets:
        if before is not None and low > before:
            lines.append(style.paint(style.dim, f"{'':9}⋮"))
        before = high
        here = [mark for mark, at in marks.items() if low <= at < high]
        blocks = bar(count / most, room)
        line = (
            f"  {compact(low):>7} .. {compact(high):>7}  {count:{digits},d} {_percent(count, total):>6}  "
            f"{style.paint(style.accent, pad(blocks, room) if here else blocks)}"
        )
        lines.append(line + (style.paint(style.warm, "  " + " ".join(here)) if here else ""))
    return lines


def merge(buckets: Sequence[Bucket]) -> list[Bucket]:
    """The buckets merged to powers of two; one that spans several keeps its bounds."""
    merged: list[Bucket] = []
    group = -1
    for low, high, count in buckets:
        if low.bit_length() == group:
            first, last, sum_ = merged[-1]
            merged[-1] = (first, max(last, high), sum_ + count)
        else:
            group = low.bit_length()
            merged.append((1 << group - 1 if group else 0, max(1 << group, high), count))
    return merged


def _percent(count: int, total: int) -> str:
    share = 100 * count / total
    return "<0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"
