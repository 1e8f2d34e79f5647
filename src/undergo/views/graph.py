"""The call graph as a tree: total and own time, calls, and where the time went as a bar."""

from __future__ import annotations

from textwrap import wrap

from undergo.analysis.graph import Graph, GraphRow
from undergo.views.split import BINS, ns_of, share, total
from undergo.views.style import PLAIN, Palette, cells, compact, escape, pad, shorten
from undergo.views.timeline import INKS, LEGEND

_BAR = 12  # columns
_DEEPEST = 40  # levels that are drawn; deeper rows say how deep they are
_LEAST_NAME = 24


def graph_lines(graph: Graph, style: Palette = PLAIN, width: int = 80) -> list[str]:
    """The tree as lines of at most `width` columns, if that is 80 or more."""
    rows = graph.rows
    if not rows:
        return [style.paint(style.dim, "no calls")]
    calls = max(5, *(len(f"{row.calls:,}") for row in rows))
    split = any(row.split for row in rows)
    bar_title = f"  {pad('WHERE', _BAR)}" if split else ""
    head = f"{'TOTAL':>7}  {'':>4}  {'SELF':>7}  {pad('CALLS', calls, True)}{bar_title}"
    lines = [style.paint(style.strong, f"{head}  FUNCTION")]
    branches = _branches(rows)
    room = max(width - cells(head) - 2, _LEAST_NAME)
    for row, branch in zip(rows, branches, strict=True):
        name = shorten([escape(row.names[-1])], max(room - cells(branch), _LEAST_NAME))[0]
        more = f" (+{row.left_out:,})" if row.left_out else ""
        known = bool(row.calls)
        own = "-" if row.self_ns is None else compact(row.self_ns)
        heavy = row.self_ns is not None and row.self_ns > graph.whole_ns / 10
        fields = [
            pad(compact(row.total_ns) if known else "-", 7, True),
            style.paint(style.dim, pad(share(row.total_ns, graph.whole_ns) if known else "", 4, True)),
            style.paint(style.hot if heavy else "", pad(own, 7, True)),
            pad(f"{row.calls:,}" if known else "-", calls, True),
        ]
        if split:
            fields.append(_bar(row, style))
        tree = style.paint(style.dim, branch)
        lines.append("  ".join([*fields, f"{tree}{name}{style.paint(style.dim, more)}"]))
    return [*lines, "", *(style.paint(style.dim, line) for line in _foot(graph, split, width))]


def _branches(rows: tuple[GraphRow, ...]) -> list[str]:
    """What stands before each name."""
    found, last = [], [False] * _DEEPEST
    for row in rows:
        if row.depth >= _DEEPEST:
            found.append(f"{'  ' * (_DEEPEST - 1)}[{row.depth}] ")
            continue
        last[row.depth] = row.last
        above = "".join("   " if last[level] else "│  " for level in range(1, row.depth))
        found.append(above + ("└─ " if row.last else "├─ ") if row.depth else "")
    return found


def _bar(row: GraphRow, style: Palette) -> str:
    whole = total(row.split) if row.split else 0
    if row.split is None or not whole:
        return pad("", _BAR)
    text, at, done = "", 0, 0
    for bin in BINS:
        done += ns_of(row.split, bin)
        upto = round(done * _BAR / whole)
        if upto > at:
            text += style.paint(style.of_bin(bin), INKS[bin] * (upto - at))
            at = upto
    return text


def _foot(graph: Graph, split: bool, width: int) -> list[str]:
    lines = wrap(LEGEND, width) if split else []
    if any(row.left_out for row in graph.rows):
        lines.append("(+N) calls on in N more ways, which --depth or --min-share leaves out")
    if any(row.self_ns is None for row in graph.rows):
        lines.append("- is not known, for the record of a caller is missing")
    if unknown := sum(row.unsplit_ns for row in graph.rows if not row.depth):
        lines.append(
            f"{compact(unknown)} of the outermost calls have no split: they count in all but the bars"
        )
    return lines
