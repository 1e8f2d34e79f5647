"""`undergo sql`: any question about recordings."""

from __future__ import annotations

import os
import sys

import click

from undergo.analysis.sql import answer, tables
from undergo.cli.options import output_options
from undergo.cli.recordings import opened, say_caveats
from undergo.errors import UsageError
from undergo.views.jsonlines import write_batch
from undergo.views.sql import csv_text, json_text, table_lines, tables_lines
from undergo.views.style import palette

_SHOWN = 1_000  # rows, for people


@click.command("sql")
@click.argument("given", nargs=-1, required=True, metavar="RECORDING... [QUERY]")
@output_options
@click.option("--csv", "as_csv", is_flag=True, help="comma-separated values, with a line of titles")
def command(given: tuple[str, ...], as_json: bool, as_csv: bool, color: str) -> None:
    """Ask recordings a question in SQL; without a query, list the tables and their columns.

    \b
    Examples:
      undergo sql run.undergo
      undergo sql run.undergo 'select * from calls order by wall_ns desc limit 10'
      undergo sql run.undergo 'select reason, sum(ns) as total_ns from waits group by all' --csv
      undergo sql run.undergo - < question.sql

    Queries are DuckDB's SQL; docs/sql.md has some worth having. They can read the recordings and nothing else, and
    write nothing. On a terminal, columns called ..._ns are shown as times; --csv and --json have them in ns.
    """
    style = palette(color, sys.stdout.isatty(), os.environ)
    if as_json and as_csv:
        raise UsageError("--json and --csv: one of them")
    *paths, query = given if len(given) > 1 and not _is_path(given[-1]) else (*given, "")
    out = sys.stdout.buffer
    if query == "-":
        query = sys.stdin.read()
        if not query.strip():
            raise UsageError("there is no query on stdin")
    with opened(paths) as recordings:
        if not query:
            found = tables(recordings)
            if as_json or as_csv:
                names = ("table", "column", "type", "rows")
                rows = [(table.name, *column, table.rows) for table in found for column in table.columns]
                write_batch(out, json_text(names, rows) if as_json else csv_text([names, *rows]))
            else:
                write_batch(out, "".join(line + "\n" for line in tables_lines(found, style)))
            say_caveats(recordings, False, style)
            return
        found_answer = answer(recordings, query)
        if as_json or as_csv:
            if as_csv:
                write_batch(out, csv_text([found_answer.columns]))
            for batch in found_answer.batches:
                write_batch(out, json_text(found_answer.columns, batch) if as_json else csv_text(batch))
            return
        shown: list[tuple[object, ...]] = []
        more = False
        for batch in found_answer.batches:
            more = len(shown) + len(batch) > _SHOWN
            shown += batch[: _SHOWN - len(shown)]
            if more:
                break
        lines = table_lines(found_answer.columns, found_answer.types, shown, style)
        if more:
            lines.append(style.paint(style.dim, f"only the first {_SHOWN:,} rows; --csv and --json give all"))
        elif not shown:
            lines.append(style.paint(style.dim, "no rows"))
        write_batch(out, "".join(line + "\n" for line in lines))


def _is_path(text: str) -> bool:
    """Whether the last argument is one more recording: a query has spaces, and is no directory."""
    return text != "-" and (os.path.exists(text) or not any(c.isspace() for c in text))
