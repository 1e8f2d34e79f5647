"""What `latency` writes to stdout: tables and the picture of calls over time, or JSON lines."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

from undergo.cli.latency_rows import Reading
from undergo.cli.run import programs_of
from undergo.cli.targets import Targets
from undergo.events.calls import Call, Latency
from undergo.events.row_values import FUNCTION
from undergo.plan.probe_plan import ProbePlan
from undergo.views import jsonlines
from undergo.views.histogram import histogram
from undergo.views.latency import latency_table, value_text
from undergo.views.style import Palette, escape
from undergo.views.timeline import Timeline


class JsonOutput:
    """One object a line."""

    def __init__(self, names: Mapping[int, str], by_text: str | None) -> None:
        """`names` are the functions' by FunctionPlan.id, `by_text` is what --by was given."""
        self._names, self._by = names, by_text
        self._lines = jsonlines.CallLines(names)

    def rows(self, reading: Reading, *, final: bool) -> None:
        """The figures so far, or the last ones."""
        text = "".join(
            jsonlines.latency(
                row,
                self._names[row.func & FUNCTION],
                (self._by, reading.values[row.func]) if self._by else None,
            )
            for row in reading.rows
        )
        jsonlines.write_batch(sys.stdout.buffer, text)

    def calls(self, calls: Sequence[Call]) -> None:
        """Calls that ended; only with a timeline."""
        jsonlines.write_batch(sys.stdout.buffer, self._lines.batch(calls))

    def end(self, ended: int, still_open: Sequence[Call]) -> None:
        """Nothing more: open calls are in the rows."""


class TextOutput:
    """One table per program and, if wanted, the timeline below."""

    def __init__(
        self,
        targets: Targets,
        plans: Sequence[ProbePlan],
        names: Mapping[int, str],
        style: Palette,
        *,
        by_text: str | None,
        sort: str,
        timeline: bool,
        with_histogram: bool,
    ) -> None:
        self._titles = [escape(executable.display) for executable in targets.executables]
        self._plans, self._names, self._style = plans, names, style
        self._by, self._sort, self._with_histogram = by_text, sort, with_histogram
        self._width = shutil.get_terminal_size((120, 40)).columns
        self._picture = Timeline(names, programs_of(targets, plans), style) if timeline else None
        self._again = ""

    def rows(self, reading: Reading, *, final: bool) -> None:
        """The figures so far, or the last ones; histograms only below these, the timeline not yet."""
        lines = self._tables(reading, final)
        if self._picture and not final:
            lines += ["", *self._picture.lines(self._width)]
        self._write([self._again, *(line + "\n" for line in lines)])
        # on a terminal the next table takes this one's place
        self._again = f"\x1b[{len(lines)}F\x1b[J" if sys.stdout.isatty() else "\n"

    def calls(self, calls: Sequence[Call]) -> None:
        """Calls that ended; only with a timeline."""
        if self._picture:
            self._picture.feed(calls)

    def end(self, ended: int, still_open: Sequence[Call]) -> None:
        """The timeline with the calls that were open; `ended` is how many are in the rows."""
        if self._picture:
            missed = ended - self._picture.seen
            self._picture.feed(still_open)
            self._write(line + "\n" for line in ["", *self._picture.lines(self._width, missed)])

    def _write(self, parts: Iterable[str]) -> None:
        jsonlines.write_batch(sys.stdout.buffer, "".join(parts))

    def _tables(self, reading: Reading, final: bool) -> list[str]:
        # rows of --by have names of their own
        names = {
            **self._names,
            **{
                func: f"{self._names[func & FUNCTION]} {self._by}={value_text(value)}"
                for func, value in reading.values.items()
            },
        }
        found: list[str] = []
        for title, plan in zip(self._titles, self._plans, strict=True):
            own = {function.id for function in plan.functions}
            if len(self._plans) > 1:
                found += [*([""] if found else []), self._style.paint(self._style.strong, f"{title}:")]
            found += self._table(
                [row for row in reading.rows if row.func & FUNCTION in own], own, final, names
            )
        return found

    def _table(
        self, rows: list[Latency], own: Collection[int], final: bool, names: Mapping[int, str]
    ) -> list[str]:
        seen = {row.func & FUNCTION for row in rows}
        unseen = [Latency(0, func, 0, 0, 0, 0, 0, 0, 0, 0, 0, ()) for func in own if func not in seen]
        lines = list(latency_table([*rows, *unseen], names, self._style, self._width, self._sort))
        if self._with_histogram and final:
            for row in rows:
                lines += ["", *histogram(row, names[row.func], self._style, self._width)]
        return lines
