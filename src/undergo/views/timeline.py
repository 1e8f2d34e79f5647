"""Calls of several programs on one axis of time, as bars."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from textwrap import wrap

from undergo.events.calls import Call
from undergo.views.split import BINS, ns_of
from undergo.views.style import PLAIN, Palette, cells, compact, escape, pad, shorten

ROWS = 40  # calls that are shown: the last ones
MIN_BAR, MIN_NAME, MIN_LABEL = 10, 16, 8  # columns
MAX_INDENT = 4  # levels
INKS = dict(zip(BINS, "█▓▒░─", strict=True))
LEGEND = (
    "█ on a CPU  ▓ taken off it  ▒ system call  ░ waiting for a P  ─ blocked: shares of a call, in this order"
)


class Timeline:
    """Takes calls as they end and draws the last of them in the order in which they began."""

    def __init__(
        self, names: Mapping[int, str], programs: Mapping[int, str], style: Palette = PLAIN, rows: int = ROWS
    ) -> None:
        """`names` and `programs` are those of functions, by FunctionPlan.id."""
        self._names = names
        self._programs = programs
        self._style = style
        self._calls: deque[Call] = deque(maxlen=rows)
        self.seen = 0  # calls that ended

    def feed(self, calls: Iterable[Call]) -> None:
        """Take calls in the order of their ends."""
        for call in calls:
            self._calls.append(call)
            self.seen += 1

    def lines(self, width: int, missed: int = 0) -> list[str]:
        """The picture, at most `width` columns wide if that is 80 or more; `missed` calls did not get here."""
        if not self._calls:
            return []
        style = self._style
        calls = sorted(self._calls, key=lambda call: (call.start_ts_ns, call.depth))
        begin = calls[0].start_ts_ns
        whole = max(call.start_ts_ns + call.wall_ns for call in calls) - begin or 1
        who = [f"{escape(self._programs[call.func])}/{call.pid} g{call.goid}" for call in calls]
        who = shorten(who, max(width // 4, 20))
        first = max(map(cells, who))
        indents = [2 * min(call.depth, MAX_INDENT) for call in calls]
        longest = max(n + cells(escape(self._names[c.func])) for n, c in zip(indents, calls, strict=True))
        marks = max(len(f" !{call.end}") if call.end != "return" else 0 for call in calls)
        room = width - first - 25 - marks  # 25: two times, and what stands between the columns
        name = max(MIN_NAME, min(longest, room // 2))
        bar = max(MIN_BAR, room - name)
        labels = shorten(
            [escape(self._names[call.func]) for call in calls], max(name - max(indents), MIN_LABEL)
        )
        head = f"{pad('AFTER', 9, True)}  {pad('PROGRAM', first)}  {pad('', bar)} {pad('WALL', 9, True)}  FUNCTION"
        lines = [style.paint(style.strong, head)]
        for call, goroutine, label, indent in zip(calls, who, labels, indents, strict=True):
            after = call.start_ts_ns - begin
            # open calls have no end yet, and say so
            mark = "" if call.end == "return" else " " + style.paint(style.hot, f"!{call.end}")
            lines.append(
                f"{pad(compact(after), 9, True)}  {pad(goroutine, first)}  "
                f"{self._bar(call, after, whole, bar)} {pad(compact(call.wall_ns), 9, True)}  "
                f"{' ' * indent}{label}{mark}"
            )
        foot = wrap(LEGEND, width) if any(call.split for call in calls) else []
        if self.seen > len(calls):
            foot.append(f"the last {len(calls)} of {self.seen:,} calls")
        if missed:
            foot.append(f"{missed:,} calls came too fast to be shown here; they are in the table")
        return [*lines, "", *(style.paint(style.dim, line) for line in foot)]

    def _bar(self, call: Call, after: int, whole: int, width: int) -> str:
        start = min(after * width // whole, width - 1)
        length = max(1, min(-(-call.wall_ns * width // whole), width - start))
        return " " * start + self._ink(call, length) + " " * (width - start - length)

    def _ink(self, call: Call, length: int) -> str:
        if call.split is None or not call.wall_ns:
            return self._style.paint(self._style.accent, "█" * length)
        text, at, done = "", 0, 0
        for bin in BINS:
            done += ns_of(call.split, bin)
            upto = round(done * length / call.wall_ns)
            if upto > at:
                text += self._style.paint(self._style.of_bin(bin), INKS[bin] * (upto - at))
                at = upto
        return text + INKS["running"] * (length - at)
