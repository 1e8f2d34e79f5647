"""How the graph, changes and answers look, letter by letter."""

from __future__ import annotations

from undergo.analysis.changes import Change, Side
from undergo.analysis.graph import Graph, GraphRow
from undergo.analysis.trees import Captured
from undergo.events.calls import Split
from undergo.views.changes import change_lines
from undergo.views.graph import graph_lines
from undergo.views.recorded_values import RecordedValues
from undergo.views.sql import csv_text, json_text, table_lines
from undergo.views.style import COLOUR, cells

MS = 1_000_000


def row(
    names: str, calls: int, total: int, own: int | None, bins: tuple[int, ...], last: bool, more: int = 0
) -> GraphRow:
    split = Split.of([ns * MS for ns in bins], {}) if bins else None
    return GraphRow(
        tuple(names.split("/")), calls, total * MS, None if own is None else own * MS, split, 0, last, more
    )


GRAPH = Graph(
    (
        row("main.handle", 1_200, 100, 30, (20, 10, 0, 0, 70), False),
        row("main.handle/main.query", 2_400, 60, 60, (0, 0, 60, 0, 0), False),
        row("main.handle/main.query/main.(*Conn).read", 0, 0, None, (), True),
        row("main.handle/main.render", 1_200, 10, 10, (10, 0, 0, 0, 0), True, 3),
        row("main.tick", 1, 1, 1, (), True),
    ),
    101 * MS,
)


def test_graph() -> None:
    """Bars are shares of a path's own total; what is not known is a dash."""
    picture = """\
  TOTAL           SELF  CALLS  WHERE         FUNCTION
 100 ms   99%  30.0 ms  1,200  ██▓▓────────  main.handle
60.0 ms   59%  60.0 ms  2,400  ▒▒▒▒▒▒▒▒▒▒▒▒  ├─ main.query
      -              -      -                │  └─ main.(*Conn).read
10.0 ms   10%  10.0 ms  1,200  ████████████  └─ main.render (+3)
1.00 ms    1%  1.00 ms      1                main.tick""".split("\n")
    lines = graph_lines(GRAPH)
    assert picture == lines[: lines.index("")]
    foot = " ".join(lines[lines.index("") + 1 :])
    assert "(+N) calls on in N more ways" in foot
    assert "- is not known" in foot


def test_graph_in_colour_is_as_wide() -> None:
    import re

    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in graph_lines(GRAPH, COLOUR, 100)]
    assert graph_lines(GRAPH, width=100) == plain
    assert all(cells(line) <= 100 for line in plain)


def test_graph_of_deep_recursion() -> None:
    rows = tuple(row("/".join(["main.f"] * depth), 1, 1, 0, (), True) for depth in range(1, 200))
    lines = graph_lines(Graph(rows, MS), width=160)
    assert "[198] main.f" in lines[199]


def test_nothing_to_draw() -> None:
    assert ["no calls"] == graph_lines(Graph((), 0))
    assert ["no function was called in either"] == change_lines([])


def side(calls: int, mean: float, waiting: float, panics: int = 0) -> Side:
    bins = {
        "running": mean - waiting,
        "descheduled": 0.0,
        "syscall": 0.0,
        "runnable": 0.0,
        "waiting": waiting,
    }
    return Side(calls, panics, mean, mean * 0.9, mean * 9, bins)


def test_changes() -> None:
    """Two lines per function, a third for where its time went."""
    rows = [
        Change(
            "main.handle", side(1_000, 2 * MS, MS), side(900, 3 * MS, 1.9 * MS, 2),
            {"mean": "more", "p50": "same", "p99": "unknown", "waiting": "more", "running": "same"},
        ),
        Change("main.old", side(5, 1_000, 0), None, {}),
        Change("main.new", None, side(5, 1_000, 0), {}),
        Change("main.else", None, side(5, 1_000, 0), {}, (False, True)),
    ]  # fmt: skip
    picture = """\
        CALLS      MEAN              P50              P99         FUNCTION
before  1,000   2.00 ms          1.80 ms          18.0 ms         main.handle
after     900   3.00 ms +50%     2.70 ms ~+50%    27.0 ms ?+50%   panics 0 → 2
        waiting +900 us · cpu ~+100 us
before      5   1.00 us           900 ns          9.00 us         main.old
after       -         -                -                -         not called any more
before      -         -                -                -         main.new  not called
after       5   1.00 us           900 ns          9.00 us
before      -         -                -                -         main.else  not recorded
after       5   1.00 us           900 ns          9.00 us""".split("\n")
    lines = change_lines(rows)
    assert picture == lines[: lines.index("")]
    hot = change_lines(rows[:1], COLOUR)
    assert f"{COLOUR.hot}+50%" in hot[2]
    assert f"{COLOUR.dim}~+50%" in hot[2]


def test_recorded_values() -> None:
    """As `trace` writes them; what is missing though other calls have it was lost."""
    captured = {
        1: [
            Captured("argument", "id", "string", '"A"', '"A"'), Captured("argument", "", "int", "3", "3"),
            Captured("result", "", "int", "1", "1"), Captured("result", "err", "error", "null", "nil"),
            Captured("label", "user", "string", '"x"', '"x"'),
            Captured("frame", "main.g", "", "null", "main.g (m.go:3)"),
            Captured("frame", "main.main", "", "null", "main.main (m.go:9)"),
        ],
        2: [Captured("result", "", "string", '"x"', '"\x1b[2J"')],
    }  # fmt: skip
    values = RecordedValues(captured, {"argument": {7}, "result": {7}})
    assert 'id="A", _=3' == values.arguments(1, 7)
    assert " → (1, err=nil)" == values.results(1, 7, "return")
    assert "" == values.results(1, 7, "panic")
    assert ' → "\\x1b[2J"' == values.results(2, 7, "return")
    assert ("<lost>", " → <lost>", "") == (
        values.arguments(3, 7),
        values.results(3, 7, "return"),
        values.arguments(3, 8),
    )
    assert {
        "args": [{"name": "id", "type": "string", "value": "A"}, {"name": "", "type": "int", "value": 3}],
        "results": [{"name": "", "type": "int", "value": 1}, {"name": "err", "type": "error", "value": None}],
        "labels": {"user": "x"},
        "stack": ["main.g (m.go:3)", "main.main (m.go:9)"],
    } == values.members(1, 7)
    assert ' [user="x"]' == values.labels(1)
    assert ["main.g (m.go:3)"] == values.stack(1, "main.main")
    assert ("", []) == (values.labels(2), values.stack(2))
    assert {"args": None, "results": None} == values.members(3, 7)


def test_answers() -> None:
    """Times for people, ns for programs; text that acts on terminals does not."""
    columns, types = (
        ("name", "calls", "mean_ns", "start_ns", "share"),
        ("VARCHAR", "BIGINT", "DOUBLE", "BIGINT", "DOUBLE"),
    )
    rows = [("main.f", 12, 1.5e6, 1_700_000_000_000_000_000, 0.25), ("\x1b[2J", 3, None, None, 1.0)]
    assert (
        """\
name     calls  mean_ns             start_ns  share
main.f      12  1.50 ms  1700000000000000000   0.25
\\x1b[2J      3        -                    -      1""".split("\n")
        == table_lines(columns, types, rows)
    )
    assert 'a,"b ""c"""\n1,\ntrue,"[1, null]"\n' == csv_text([("a", 'b "c"'), (1, None), (True, [1, None])])
    assert '{"a": 1, "b": null, "c": {"d": [1.5]}}\n' == json_text(
        ("a", "b", "c"), [(1, float("nan"), {"d": [1.5]})]
    )
