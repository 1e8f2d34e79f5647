"""The story of one call, line by line in time order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from undergo.analysis.story import Stay, Story, Waker
from undergo.events.calls import Call
from undergo.views.recorded_values import RecordedValues
from undergo.views.split import largest_waits, share, words
from undergo.views.style import PLAIN, Palette, compact, escape, pad

_SPLIT_FROM_NS = 10_000  # shorter calls do not say where their time went
_DEEPEST = 20  # levels of indentation
_ENDS = {
    "return": "returned", "panic": "was unwound by a panic", "goexit": "ended by runtime.Goexit",
    "died": "ended with its process", "open": "was still open when the recording ended",
}  # fmt: skip


def story_lines(
    story: Story, names: Sequence[str], values: RecordedValues, style: Palette = PLAIN
) -> list[str]:
    """The story; `names` are the functions' by func."""
    root = story.tree.root.call
    lines = [*_head(story, names, values, style), ""]
    lines.append(style.paint(style.strong, f"{'AFTER':>9}  {'TOOK':>9}  WHAT"))
    open_calls: list[Call] = []
    for start, what in _in_order(story):
        while open_calls and start >= open_calls[-1].start_ts_ns + max(open_calls[-1].wall_ns, 1):
            open_calls.pop()
        indent = "  " * min(len(open_calls), _DEEPEST)
        after, took = compact(start - root.start_ts_ns), (what.wall_ns if isinstance(what, Call) else what.ns)
        lead = f"{after:>9}  {_took(took, style)}  {indent}"
        if isinstance(what, Call):
            lines.append(lead + _call(what, names, values, style))
            open_calls.append(what)
        else:
            lines.append(lead + _stay(what, style))
            if what.waker:
                lines += [f"{'':22}{indent}{each}" for each in _waker(what, what.waker, style)]
    lines.append(f"{compact(root.wall_ns):>9}  {'':9}  {_end(root, style)}")
    return [*lines, *_foot(story, style)]


def _head(story: Story, names: Sequence[str], values: RecordedValues, style: Palette) -> list[str]:
    root = story.tree.root.call
    began = time.strftime("%F %T", time.localtime(root.start_ts_ns // 10**9))
    micros = f"{root.start_ts_ns // 1000 % 10**6:06d}"
    given = values.arguments(root.id, root.func)
    lines = [
        style.paint(
            style.strong, f"{escape(names[root.func])}({given}){values.results(root.id, root.func, root.end)}"
        ),
        f"  call {root.id}, goroutine {root.goid} of process {root.pid}, at {began}.{micros}",
    ]
    if len(story.callers) > 1:
        lines.append(f"  called by {' → '.join(map(escape, story.callers[:-1]))}")
    took = compact(root.wall_ns)
    if root.split is not None:
        lines.append(f"  took {took}: {words(root.split, style)}")
    elif root.gap:
        lines.append(f"  took {took}; where it went is not known, for a status change was missed")
    else:
        lines.append(f"  took {took}; where it went was not recorded (--no-split)")
    return lines


def _in_order(story: Story) -> Iterator[tuple[int, Call | Stay]]:
    rows: list[tuple[int, int, int, Call | Stay]] = [
        (call.start_ts_ns, 0, call.depth, call) for call in story.tree.beneath
    ]
    rows += [(stay.start_ts_ns, 1, 0, stay) for stay in story.stays or ()]
    for start, _, _, what in sorted(rows, key=lambda row: row[:3]):
        yield start, what


def _call(call: Call, names: Sequence[str], values: RecordedValues, style: Palette) -> str:
    given = values.arguments(call.id, call.func)
    text = f"{escape(names[call.func])}({given}){values.results(call.id, call.func, call.end)}"
    if call.end != "return":
        text += " " + style.paint(style.hot, f"!{call.end}")
    if call.split is not None and call.wall_ns >= _SPLIT_FROM_NS and call.split.running_ns < call.wall_ns:
        text += "  " + style.paint(style.dim, "// ") + words(call.split, style)
    return text


def _stay(stay: Stay, style: Palette) -> str:
    if stay.state == "waiting":
        text = f"waits: {escape(stay.reason) or 'reason lost'}"
        if stay.ended and not stay.waker:
            text += style.paint(
                style.dim, "  ended by no goroutine: a timer, the network poller, the collector"
            )
    else:
        text = {
            "runnable": "ready, waits for a P", "syscall": "in a system call", "preempted": "preempted"
        }[stay.state]  # fmt: skip
    if not stay.ended:
        text += style.paint(style.warm, "  and beyond this call's end")
    bin = "waiting" if stay.state in ("waiting", "preempted") else stay.state
    return style.paint(style.of_bin(bin), text.partition("  ")[0]) + text[len(text.partition("  ")[0]) :]


def _waker(stay: Stay, waker: Waker, style: Palette) -> list[str]:
    where = f" in {' → '.join(map(escape, waker.within))}" if waker.within else ", in no recorded call"
    spent = [f"{escape(what)} {compact(ns)}" for what, ns in largest_waits(waker.spent)]
    if waker.unknown_ns and waker.spent:
        spent.append(f"not known {compact(waker.unknown_ns)}")
    meanwhile = f"meanwhile {', '.join(spent)}" if spent else "what it did meanwhile was not recorded"
    return [
        style.paint(style.dim, "└ ended by ") + f"goroutine {waker.goid}{where}",
        style.paint(style.dim, f"  {meanwhile}"),
    ]


def _took(ns: int, style: Palette) -> str:
    return style.paint(style.by_magnitude(ns), pad(compact(ns), 9, True))


def _end(root: Call, style: Palette) -> str:
    return style.paint("" if root.end == "return" else style.hot, _ENDS[root.end])


def _foot(story: Story, style: Palette) -> list[str]:
    root, foot = story.tree.root.call, []
    if story.tree.left_out:
        foot.append(f"{story.tree.left_out:,} shorter calls beneath it are not shown; --limit shows more")
    if story.stays_left_out:
        foot.append(f"{story.stays_left_out:,} shorter waits are not shown; --limit shows more")
    if story.stays is None:
        waits = largest_waits(root.split.waits) if root.split else []
        for reason, ns in waits:
            foot.append(f"in all it waited {compact(ns)} ({share(ns, root.wall_ns)}): {escape(reason)}")
        foot.append(
            "when it waited, and which goroutine ended each wait, `undergo record --states` would tell"
        )
    return ["", *(style.paint(style.dim, line) for line in foot)] if foot else []
