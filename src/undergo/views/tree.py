"""The live call tree: one line as a call opens, one as it closes, goroutine by goroutine.

The kernel gives records in the order things happened, with goroutines interleaved: a `CallOpened` before the
first record beneath it, a `Call` at its end, after its children; a call without children is its `Call` only.
Lines wait here per goroutine and leave as whole trees where possible: when the outermost call ends, when the
oldest line has waited for `PATIENCE_NS`, or when too many wait. Every record becomes exactly one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from undergo.events.calls import Call, CallOpened
from undergo.views.split import words
from undergo.views.style import PLAIN, Palette, duration, escape

PATIENCE_NS = 500_000_000
MAX_LINES_OF_ONE = 1_000  # lines of one goroutine that wait
MAX_LINES = 20_000  # lines of all of them
MAX_GOROUTINES = 50_000  # goroutines with open calls; above, the oldest are given up
SPLIT_FROM_NS = 10_000  # shorter calls do not say where their time went
MAX_INDENT = 40  # levels; deeper calls say their depth

_Key = tuple[int, int, int]
_NO_DURATION = " " * 11


class Values(Protocol):
    """What calls were given and gave back, as text."""

    def arguments(self, call: int, func: int, at: int) -> str:
        """What stands between a call's parentheses; it began at `at`, in ns since the epoch."""

    def labels(self, call: int) -> str:
        """What follows these: its goroutine's labels."""

    def stack(self, call: int, until: str = "") -> Sequence[str]:
        """Who called it, innermost first, as far as a function that is shown anyway."""

    def results(self, call: int, func: int, end: str, at: int) -> str:
        """What follows a call that ended so, at `at`."""

    def forget(self, call: int) -> None:
        """The call has been shown."""


class _Goroutine:
    """What is pending for one goroutine."""

    __slots__ = ("key", "lines", "mergeable", "open", "partial", "since")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.open: list[CallOpened] = []  # outermost first
        self.lines: list[str] = []  # written, not yet given out
        self.since = 0  # when the oldest of `lines` came
        self.mergeable = False  # the last of `lines` is the opening line of open[-1]
        self.partial = False  # lines of the present tree have been given out


class CallTree:
    """Turns records into the lines of a call tree. `now_ns` is any monotonic clock of the caller's."""

    def __init__(
        self,
        names: Sequence[str] | Mapping[int, str],
        style: Palette = PLAIN,
        show_pid: bool = False,
        values: Values | None = None,
    ) -> None:
        """`names` are the functions' names by FunctionPlan.id; `show_pid` adds a column for the process.

        `values` has the arguments and results of calls, if they were asked for.
        """
        self._values = values
        self._names = names
        self._style = style
        self._show_pid = show_pid
        self._shown: dict[int, str] = {}
        self._goroutines: dict[_Key, _Goroutine] = {}  # oldest first
        self._waiting: dict[_Key, _Goroutine] = {}  # those with lines, oldest line first
        self._count = 0  # lines in all of them
        self._out: list[str] = []
        self._last: _Key | None = None  # whose lines were given out last
        self._last_single = True  # and they were one finished line

    def header(self) -> str:
        """The line above the columns."""
        pid = "       PID" if self._show_pid else ""
        return self._style.paint(self._style.strong, f"   DURATION{pid}      GOID  FUNCTION")

    def feed(self, records: Iterable[Call | CallOpened], now_ns: int) -> list[str]:
        """Take records in the kernel's order; the lines that are ready now."""
        goroutines = self._goroutines
        for record in records:
            # Goroutine 0 is any code on a system stack: there the thread tells callers apart.
            key = (record.pid, record.goid, 0 if record.goid else record.tid)
            goroutine = goroutines.get(key)
            if type(record) is Call:
                if goroutine is None:
                    stack = self._stack(record, ())
                    self._give_out(key, [self._leaf(record), *stack], not stack)
                else:
                    self._end(goroutine, record, now_ns)
            else:
                self._begin(goroutine or self._new(key), record, now_ns)  # type: ignore[arg-type]
            if self._count > MAX_LINES:
                self._flush(next(iter(self._waiting.values())))
        return self._take()

    def flush_due(self, now_ns: int) -> list[str]:
        """The lines of goroutines whose oldest line has waited for `PATIENCE_NS`."""
        while self._waiting:
            goroutine = next(iter(self._waiting.values()))
            if now_ns - goroutine.since < PATIENCE_NS:
                break
            self._flush(goroutine)
        return self._take()

    def finish(self, now_ts_ns: int | None = None) -> list[str]:
        """All that is left, with a line for each call still open at `now_ts_ns` (ns since the epoch)."""
        for goroutine in list(self._goroutines.values()):
            while goroutine.open:
                call = goroutine.open[-1]
                after = None if now_ts_ns is None else max(0, now_ts_ns - call.start_ts_ns)
                self._close_open(goroutine, call, after, goroutine.since)
            self._flush(goroutine)
        self._goroutines.clear()
        return self._take()

    def _new(self, key: _Key) -> _Goroutine:
        if len(self._goroutines) >= MAX_GOROUTINES:
            oldest = next(iter(self._goroutines.values()))
            self._give_up(oldest, 0, oldest.since)
            self._drop(oldest)
        goroutine = self._goroutines[key] = _Goroutine(key)
        return goroutine

    def _begin(self, goroutine: _Goroutine, call: CallOpened, now_ns: int) -> None:
        self._give_up(goroutine, call.depth, now_ns)
        self._add(goroutine, self._line(_NO_DURATION, call, f"{self._begun(call)} {{"), now_ns)
        stack = self._stack(call, goroutine.open)
        for line in stack:
            self._add(goroutine, line, now_ns)
        goroutine.open.append(call)
        goroutine.mergeable = not stack

    def _end(self, goroutine: _Goroutine, call: Call, now_ns: int) -> None:
        opened = goroutine.open
        if any(frame.id == call.id for frame in reversed(opened)):
            self._give_up(goroutine, call.depth + 1, now_ns)
            if call.end == "open":
                self._close_open(goroutine, opened[-1], call.wall_ns, now_ns)
            else:
                opened.pop()
                name = f"}} {self._name(call.func)}{self._ended(call)}"
                self._add(goroutine, self._line(self._duration(call), call, name), now_ns)
        else:
            self._give_up(goroutine, call.depth, now_ns)
            stack = self._stack(call, opened)
            for line in (self._leaf(call), *stack):
                self._add(goroutine, line, now_ns)
        if not opened:
            self._drop(goroutine)
        elif len(goroutine.lines) >= MAX_LINES_OF_ONE:
            self._flush(goroutine)

    def _give_up(self, goroutine: _Goroutine, depth: int, now_ns: int) -> None:
        """Close the open calls at `depth` and deeper: something happened above them, their end was lost."""
        while goroutine.open and goroutine.open[-1].depth >= depth:
            call = goroutine.open.pop()
            text = f"}} {self._name(call.func)} {self._style.paint(self._style.hot, '!end lost')}"
            self._add(goroutine, self._line(_NO_DURATION, call, text), now_ns)

    def _close_open(self, goroutine: _Goroutine, call: CallOpened, after_ns: int | None, now_ns: int) -> None:
        goroutine.open.pop()
        mergeable = goroutine.mergeable and bool(goroutine.lines)
        name = self._name(call.func)
        text = (f"{self._begun(call)} {{" if mergeable else f"}} {name}") + self._open(after_ns)
        if mergeable:  # its opening line has not been given out, and nothing stands below it
            goroutine.lines.pop()
            self._count -= 1
        self._add(goroutine, self._line(_NO_DURATION, call, text), now_ns)

    def _add(self, goroutine: _Goroutine, line: str, now_ns: int) -> None:
        if not goroutine.lines:
            goroutine.since = now_ns
            self._waiting[goroutine.key] = goroutine
        goroutine.lines.append(line)
        goroutine.mergeable = False
        self._count += 1

    def _drop(self, goroutine: _Goroutine) -> None:
        self._flush(goroutine)
        self._goroutines.pop(goroutine.key, None)

    def _flush(self, goroutine: _Goroutine) -> None:
        if not goroutine.lines:
            return
        self._count -= len(goroutine.lines)
        del self._waiting[goroutine.key]
        done = not goroutine.open
        self._give_out(
            goroutine.key,
            goroutine.lines,
            done and not goroutine.partial and len(goroutine.lines) == 1,
            goroutine if goroutine.partial else None,
        )
        goroutine.lines = []
        goroutine.mergeable = False
        goroutine.partial = not done

    def _give_out(
        self, key: _Key, lines: list[str], single: bool, continued: _Goroutine | None = None
    ) -> None:
        """Hand lines over, below an empty line if they or the ones before are a tree of another goroutine."""
        if key != self._last and self._last is not None and not (single and self._last_single):
            self._out.append("")
            if continued is not None:
                self._out.append(
                    self._style.paint(self._style.dim, self._ids(key, _NO_DURATION) + "  (continued)")
                )
        self._last, self._last_single = key, single
        self._out += lines

    def _take(self) -> list[str]:
        out, self._out = self._out, []
        return out

    def _leaf(self, call: Call) -> str:
        if call.end == "open":
            return self._line(_NO_DURATION, call, f"{self._begun(call)} {{{self._open(call.wall_ns)}")
        text = f"{self._begun(call)}{self._ended(call)}"
        return self._line(self._duration(call), call, text)

    def _line(self, lead: str, call: Call | CallOpened, text: str) -> str:
        depth = call.depth
        indent = "  " * depth if depth <= MAX_INDENT else f"{'  ' * MAX_INDENT}[{depth}] "
        if self._show_pid:
            return f"{lead}{call.pid:10d}{call.goid:10d}  {indent}{text}"
        return f"{lead}{call.goid:10d}  {indent}{text}"

    def _stack(self, call: Call | CallOpened, callers: Sequence[CallOpened]) -> list[str]:
        """The lines of who called it, as far as they are not above it."""
        if self._values is None:
            return []
        above = self._names[callers[-1].func] if callers else ""
        style = self._style
        return [
            self._line(_NO_DURATION, call, style.paint(style.dim, f"    from {source}"))
            for source in self._values.stack(call.id, above)
        ]

    def _ids(self, key: _Key, lead: str) -> str:
        return f"{lead}{key[0]:10d}{key[1]:10d}" if self._show_pid else f"{lead}{key[1]:10d}"

    def _name(self, func: int) -> str:
        name = self._shown.get(func)
        if name is None:
            try:
                name = escape(self._names[func])
            except (KeyError, IndexError):
                name = f"function#{func}"
            self._shown[func] = name
        return name

    def _begun(self, call: Call | CallOpened) -> str:
        given = self._values.arguments(call.id, call.func, call.start_ts_ns) if self._values else ""
        labels = self._values.labels(call.id) if self._values else ""
        return (
            f"{self._name(call.func)}({given}){self._style.paint(self._style.dim, labels) if labels else ''}"
        )

    def _ended(self, call: Call) -> str:
        at = call.start_ts_ns + call.wall_ns
        back = self._values.results(call.id, call.func, call.end, at) if self._values else ""
        if self._values:
            self._values.forget(call.id)
        return f"{back}{self._mark(call)}{self._split(call)}"

    def _duration(self, call: Call) -> str:
        text = " " + duration(call.wall_ns)
        sgr = self._style.by_magnitude(call.wall_ns)
        return f"{sgr}{text}{self._style.reset}" if sgr else text

    def _mark(self, call: Call) -> str:
        if call.end == "return":
            return ""
        return " " + self._style.paint(self._style.hot, f"!{call.end}")

    def _split(self, call: Call) -> str:
        """Where the time went, of calls that are worth the words."""
        if call.gap:
            return "  " + self._style.paint(self._style.warm, "!a status change was missed")
        if call.split is None or call.wall_ns < SPLIT_FROM_NS or call.split.running_ns == call.wall_ns:
            return ""
        return "  " + self._style.paint(self._style.dim, "// ") + words(call.split, self._style)

    def _open(self, after_ns: int | None) -> str:
        after = "" if after_ns is None else f" after {duration(after_ns).strip()}"
        return self._style.paint(self._style.warm, f" ... still open{after}")
