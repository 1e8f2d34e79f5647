"""Answers to queries: as an aligned table, as CSV, as JSON lines; and what can be asked."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from undergo.analysis.sql import Table
from undergo.views.jsonlines import clean
from undergo.views.style import PLAIN, Palette, cells, compact, escape, pad

_WIDEST = 80  # columns of one value, for people
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)
_REALS = ("DOUBLE", "FLOAT", "DECIMAL")


def table_lines(
    columns: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]], style: Palette = PLAIN
) -> list[str]:
    """A table for people: numbers to the right, times in columns called `..._ns` as times, NULL as a dim -."""
    body = [
        [_shown(value, name, kind) for value, name, kind in zip(row, columns, types, strict=True)]
        for row in rows
    ]
    titles = [escape(name) for name in columns]
    sizes = [max(cells(title), *(cells(row[at]) for row in body), 0) for at, title in enumerate(titles)]
    right = [_is_number(kind) for kind in types]
    lines = [style.paint(style.strong, _line(titles, sizes, right))]
    for row, values in zip(body, rows, strict=True):
        fields = [pad(text, size, to_right) for text, size, to_right in zip(row, sizes, right, strict=True)]
        painted = [
            style.paint(style.dim, text) if value is None else text
            for text, value in zip(fields, values, strict=True)
        ]
        lines.append("  ".join(painted).rstrip())
    return lines


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV (RFC 4180 but for the line ends); NULL is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        writer.writerow([value if isinstance(value, str) else _plain(value) for value in row])
    return clean(out.getvalue())


def json_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """One JSON object a row, with the query's own columns."""
    return "".join(
        clean(json.dumps(dict(zip(columns, map(_member, row), strict=True)), ensure_ascii=False)) + "\n"
        for row in rows
    )


def tables_lines(tables: Sequence[Table], style: Palette = PLAIN) -> list[str]:
    """What can be asked: each table with its rows, its columns below it."""
    lines = []
    for table in tables:
        many = f"{table.rows:,} row{'' if table.rows == 1 else 's'}"
        lines.append(f"{style.paint(style.strong, table.name)}  {style.paint(style.dim, many)}")
        size = max(len(name) for name, _ in table.columns)
        lines += [f"  {name:{size}}  {style.paint(style.dim, kind)}" for name, kind in table.columns]
    return lines


def _line(texts: Sequence[str], sizes: Sequence[int], right: Sequence[bool]) -> str:
    return "  ".join(map(pad, texts, sizes, right)).rstrip()


def _is_number(kind: str) -> bool:
    return kind in _NUMBERS or kind.startswith(_REALS)


def _shown(value: Any, name: str, kind: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) or _is_number(kind):
        if name.endswith("_ns") and not name.endswith(("ts_ns", "start_ns", "started_ns", "ended_ns")):
            return compact(round(value)) if 0 <= value else str(value)
        if isinstance(value, int):
            return str(value)  # not by way of a float, which has too few digits for times since the epoch
        return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:.0f}"
    text = escape(_plain(value))
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict | tuple):
        return json.dumps(_member(value), ensure_ascii=False)
    return str(value)


def _member(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None  # JSON has no such numbers
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_member(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _member(each) for key, each in value.items()}
    if hasattr(value, "as_tuple"):  # a decimal
        return int(value) if value == int(value) else float(value)
    return str(value)
