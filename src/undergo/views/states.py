"""Goroutine states: `TIME STATE GOID PID TID` with what else there is to say, and a summary."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from undergo.events.states import SUMMED, Birth, Longest, StateChange, Stays
from undergo.views.style import PLAIN, Palette, compact, escape

_BIN_OF = {"running": "running", "syscall": "syscall", "runnable": "runnable", "waiting": "waiting"}


def header(style: Palette = PLAIN) -> str:
    """The line above the columns."""
    return style.paint(style.strong, f"{'TIME':15}  {'STATE':9} {'GOID':>8} {'PID':>8} {'TID':>8}")


def line(row: StateChange | Birth, style: Palette = PLAIN) -> str:
    """One change as one line."""
    state = "runnable" if isinstance(row, Birth) else row.after
    told = style.paint(_colour(state, style), f"{state:9}")
    return f"{_clock(row.ts_ns)}  {told} {row.goid:8d} {row.pid:8d} {row.tid:8d}  {_detail(row, style)}"


def _detail(row: StateChange | Birth, style: Palette) -> str:
    if isinstance(row, Birth):
        parent = f"born of {row.parent}" if row.parent else "born of the runtime"
        at = f" at {escape(str(row.statement))}" if row.statement else ""
        start = f", starts in {escape(str(row.start))}" if row.start else ""
        return style.paint(style.good, parent) + at + start
    words = []
    if row.after == "waiting":
        words.append(style.paint(style.waiting, escape(row.reason)))
    if row.spent_ns is not None:
        reason = f" ({escape(row.reason)})" if row.before == "waiting" and row.reason else ""
        words.append(f"after {compact(row.spent_ns)} {row.before}{reason}")
    else:
        words.append(style.paint(style.dim, f"was {row.before} since before the trace"))
    if row.waker:
        words.append(f"by {row.waker}")
    if row.after == "dead":
        known = row.lifetime_ns is not None
        words.append(f"lived {compact(row.lifetime_ns)}" if row.lifetime_ns is not None and known else "")
    return ", ".join(word for word in words if word)


def _clock(ts_ns: int) -> str:
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 1000:06d}"


def _colour(state: str, style: Palette) -> str:
    return style.of_bin(_BIN_OF[state]) if state in _BIN_OF else style.dim


def summary(
    rows: Sequence[Stays],
    longest: Mapping[str, Sequence[Longest]],
    born: int,
    died: int,
    style: Palette = PLAIN,
) -> list[str]:
    """A table of states and, below waiting, of wait reasons; then the goroutines longest in each."""
    several = len({row.pid for row in rows}) > 1
    head = f"{'COUNT':>11} {'TOTAL':>8} {'P50':>8} {'P99':>8} {'MAX':>8}  STATE"
    lines = [style.paint(style.strong, ("    PID " if several else "") + head)]
    for row in rows:
        figures = f"{row.count:11,d} " + " ".join(
            f"{compact(ns):>8}" for ns in (row.total_ns, row.p50_ns, row.p99_ns, row.max_ns)
        )
        name = f"  {escape(row.reason)}" if row.reason else row.state
        pid = f"{row.pid:7d} " if several else ""
        lines.append(f"{pid}{figures}  {style.paint(_colour(row.state, style), name)}")
    if not rows:
        lines.append(style.paint(style.dim, "no goroutine changed its state"))
    for state in SUMMED:
        if not longest.get(state):
            continue
        lines += ["", style.paint(style.strong, f"longest {state}")]
        for one in longest[state]:
            words = f"  {compact(one.ns):>8}  goroutine {one.goid}" + (f" of {one.pid}" if several else "")
            words += f", {escape(one.reason)}" if one.reason else ""
            lines.append(words + (", and still is" if one.still else ""))
    lines += ["", style.paint(style.dim, f"{born:,} goroutines were born and {died:,} died")]
    note = "stays that began before the trace are not in the table; p50, p99 are interpolated"
    return [*lines, style.paint(style.dim, note)]
