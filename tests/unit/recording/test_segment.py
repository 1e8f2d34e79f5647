"""Raw records become tables whose contents are known beforehand."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tests.raw_records import (
    BORN,
    CALL,
    CHANGED,
    REASONS,
    Records,
    batch,
    begin,
    closed,
    far,
    opened,
    state,
)  # fmt: skip
from tests.recordings import PID, START
from undergo.goexe.function import Source
from undergo.recording.meta import Meta
from undergo.recording.reader import open_recordings
from undergo.recording.segment import Converter, SourceOf


def convert(
    directory: Path,
    parts: Sequence[Records],
    source: SourceOf | None = None,
    *,
    anew: bool = False,
    **more: Any,
) -> Meta:
    """A recording of these segments, closed; `anew`: each is made by somebody who only knows what is on disk."""
    meta = begin(directory, **more)
    converter = Converter(str(directory), meta, source)
    for number, records in enumerate(parts):
        if anew:
            converter.close()
            converter = Converter(str(directory), meta, source)
            converter.restore()
        converter.records(number, records)
    converter.close()
    meta = meta.ended(converter.last_ns, {"hits": 0})
    meta.write(str(directory))
    return meta


def rows(directory: Path, query: str) -> list[Any]:
    return open_recordings([str(directory)]).connection.execute(query).fetchall()


PATHS = """
    with recursive whole as (
        select path, [func] as funcs from paths where parent is null
        union all
        select path, [-1, func] from paths where parent = 0
        union all
        select p.path, list_append(w.funcs, p.func) from paths p join whole w on p.parent = w.path
    )
    select c.id, w.funcs from calls c join whole w on c.path = w.path
"""


def paths(directory: Path) -> dict[int, list[int]]:
    """The functions on each call's path by id, outermost first; -1 stands for callers that were lost."""
    return dict(rows(directory, PATHS))


def tree(seed: int, calls: int = 400, goroutines: int = 5) -> tuple[list[Records], dict[int, list[int]]]:
    """Records of a random program as bpf/frames.bpf.h makes them, and the path of each call by its id."""
    chance = random.Random(seed)
    stacks: list[list[list[Any]]] = [[] for _ in range(goroutines)]  # of [id, func, parent, announced]
    made, truth, now = [], {}, 0
    for id in range(1, calls + 1):
        stack = chance.choice(stacks)
        while stack and chance.random() < 0.45:
            now += 1
            made += leave(stack, now)
        frame = [id, chance.randrange(8), stack[-1][0] if stack else 0, False]
        stack.append(frame)
        truth[id] = [one[1] for one in stack]
    for stack in stacks:
        while stack:
            made += leave(stack, now)
    return made, truth


def leave(stack: list[list[Any]], now: int) -> list[Records]:
    """The innermost call ends: its callers are announced first."""
    made = []
    for depth, frame in enumerate(stack[:-1]):
        if not frame[3]:
            frame[3] = True
            made.append(opened(frame[0], frame[1], frame[2], now, depth=depth))
    id, func, parent, _ = stack.pop()
    return [*made, closed(id, func, parent, now, depth=len(stack))]


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_paths_over_segments(tmp_path: Path, seed: int, anew: bool) -> None:
    """Whatever the records are cut into, each call has the path it was made on, and no path is there twice."""
    made, truth = tree(seed)
    cuts = sorted(random.Random(seed).sample(range(len(made)), 7))
    parts = [batch(*made[a:b]) for a, b in zip([0, *cuts], [*cuts, len(made)], strict=True)]
    convert(tmp_path / "r", parts, anew=anew)
    assert truth == paths(tmp_path / "r")
    found = rows(tmp_path / "r", "select path, parent, func, depth from paths order by path")
    assert list(range(1, len(found) + 1)) == [row[0] for row in found]
    assert len(found) == len({row[1:3] for row in found})
    depths = {path: depth for path, _, _, depth in found}
    for path, parent, _, depth in found:
        assert parent is None or parent < path
        assert depth == (0 if parent is None else depths[parent] + 1)
    assert truth.keys() == {id for (id,) in rows(tmp_path / "r", "select id from calls")}


@pytest.mark.parametrize("anew", [False, True])
def test_recursion_as_deep_as_it_gets(tmp_path: Path, anew: bool) -> None:
    """A path per level, a thousand segments' worth of it over three segments: no level costs a pass."""
    levels = 60_000
    down = np.concatenate([opened(1)] * levels)
    down["id"], down["parent"], down["depth"] = np.arange(1, levels + 1), np.arange(levels), np.arange(levels)
    up = down[::-1].copy()
    up["kind"] = 2
    began = time.process_time()
    convert(tmp_path / "r", [down[:25_000], batch(down[25_000:], up[:1000]), up[1000:]], anew=anew)
    assert time.process_time() - began < 10
    assert [(levels, levels)] == rows(tmp_path / "r", "select count(*), max(path) from calls")
    assert [] == rows(
        tmp_path / "r",
        "select c.id from calls c join paths p on c.path = p.path where p.depth <> c.depth or p.path <> c.id",
    )


def test_lost_callers(tmp_path: Path) -> None:
    """Who called is lost: a path of its own. Announced late is found, if it is within the segment."""
    made = batch(
        closed(3, func=2, parent=99),  # 99 was never announced
        closed(4, func=2, parent=5),  # 5 comes late
        opened(5, func=1),
        closed(6, func=2, parent=5),
        closed(5, func=1),
    )
    convert(tmp_path / "r", [made])
    assert {3: [-1, 2], 4: [1, 2], 5: [1], 6: [1, 2]} == paths(tmp_path / "r")
    assert [(0, 1)] == rows(tmp_path / "r", "select parent, depth from paths where parent = 0")


def test_what_is_known_of_a_call(tmp_path: Path) -> None:
    """Every column; the parts of the wall time add up, or are all unknown."""
    made = batch(
        closed(1, 3, start=5, wall=100, bins=[1, 2, 3, 4], waits={0: 4}, tid=7, goid=8, end="panic"),
        closed(2, 3, start=6, wall=50),
        closed(3, 3, start=7, wall=50, bins=[1, 1, 1, 1], waits={0: 1}, flags=3),  # a transition was lost
        closed(4, 3, start=8, wall=9, bins=[0, 0, 0, 0], waits={}, end="goexit"),
    )
    convert(tmp_path / "r", [made])
    none = (None,) * 5
    assert [
        (1, 0, 3, 1, PID, 7, 8, 0, START + 5, 100, "panic", 90, 1, 2, 3, 4),
        (2, 0, 3, 1, PID, PID, 1, 0, START + 6, 50, "return", *none),
        (3, 0, 3, 1, PID, PID, 1, 0, START + 7, 50, "return", *none),
        (4, 0, 3, 1, PID, PID, 1, 0, START + 8, 9, "goexit", 9, 0, 0, 0, 0),
    ] == rows(tmp_path / "r", "select * exclude recording from calls order by id")
    assert [(1, 3, 1, PID, 8, "sleep", 4)] == rows(tmp_path / "r", "select * exclude recording from waits")


@pytest.mark.parametrize("anew", [False, True])
def test_waits_far_and_near(tmp_path: Path, anew: bool) -> None:
    """Waits in records of their own find their call, though it is in the next segment; without it they are none."""
    parts = [
        batch(
            far(9, {5: 5}),
            far(1, {2: 30, 3: 40}),
            closed(1, wall=500, bins=[0, 0, 0, 100], waits={0: 10, 1: 20}),
        ),
        batch(far(2, {2: 7}), far(3, {2: 8}), far(4, {1: 6})),
        batch(
            closed(2, wall=99, bins=[0, 0, 0, 10], waits={0: 1, 1: 2}),
            closed(3, wall=99, bins=[0, 0, 0, 10], waits={0: 1}, flags=3),
        ),
        batch(closed(9, wall=99, bins=[0, 0, 0, 10], waits={0: 10})),
        batch(closed(4, wall=99, bins=[0, 0, 0, 10], waits={0: 4})),
    ]
    convert(tmp_path / "r", parts, anew=anew)
    assert [
        (1, {"sleep": 10, "select": 20, "chan send": 30, "chan receive": 40}),
        (2, {"sleep": 1, "select": 2, "chan send": 7}),
        (4, {"sleep": 4}),
        (9, {"sleep": 10}),
    ] == [
        (call, dict(zip(reasons, ns, strict=True)))
        for call, reasons, ns in rows(
            tmp_path / "r", "select call, list(reason), list(ns) from waits group by call order by call"
        )
    ]


def test_states(tmp_path: Path) -> None:
    """By time; what is not known is NULL and not 0."""
    made = batch(
        state(CHANGED, 30, before=4, after=1, from_slot=3, to_slot=0, other=17, spent=20, flags=1),
        state(CHANGED, 10, before=2, after=4, from_slot=63, to_slot=3, spent=4, flags=1),
        state(CHANGED, 5, before=4, after=1, from_slot=3, to_slot=0),  # waited since before we looked
        state(CHANGED, 40, before=2, after=4, to_slot=63, spent=0, flags=1),  # its reason could not be read
        state(CHANGED, 50, before=2, after=11, spent=6, flags=1),
        state(CHANGED, 60, before=2, after=7),  # no such state is known
    )
    convert(tmp_path / "r", [made])
    assert [
        (5, "waiting", "runnable", None, None, None),
        (10, "running", "waiting", "chan receive", None, 4),
        (30, "waiting", "runnable", "chan receive", 17, 20),
        (40, "running", "waiting", REASONS[-1], None, 0),
        (50, "running", "dead", None, None, 6),
        (60, "running", "7", None, None, None),
    ] == rows(
        tmp_path / "r",
        f"select ts_ns - {START}, before, after, reason, waker, spent_ns from states order by ts_ns",
    )


def test_births_and_places(tmp_path: Path) -> None:
    """Places are numbered once, over segments; without the executable they are not known."""
    asked = []

    def source(executable: int, site: int, distance: int) -> Source | None:
        asked.append((executable, site, distance))
        return None if distance == 5 else Source(f"main.at{distance}", "main.go", distance)

    parts = [
        batch(
            state(BORN, 2, goid=7, other=1, go_pc=101, start_pc=-50, site=3),
            state(BORN, 1, goid=6, other=0, go_pc=101, start_pc=5, site=3),
            state(BORN, 3, goid=8, other=1, go_pc=0, start_pc=0),  # neither could be read
        ),
        batch(state(BORN, 9, goid=9, other=7, go_pc=-49, start_pc=200, site=3)),
    ]
    convert(tmp_path / "r", parts, source)
    assert sorted({(0, 3, 100), (0, 3, -50), (0, 3, 5), (0, 3, 200)}) == sorted(asked)
    query = """
        select goid, parent, s.line, t."function" from births b
        left join places s on s.place = b.statement left join places t on t.place = b.start order by goid
    """
    assert [
        (6, None, 100, None),
        (7, 1, 100, "main.at-50"),
        (8, 1, None, None),
        (9, 7, -50, "main.at200"),
    ] == rows(tmp_path / "r", query)
    assert [0, 1, 2] == [
        place for (place,) in rows(tmp_path / "r", "select place from places order by place")
    ]
    convert(tmp_path / "s", parts)
    assert [(None, None)] == rows(tmp_path / "s", "select distinct statement, start from births")


def test_a_million_goroutines(tmp_path: Path) -> None:
    """Each inside a call that is announced and does not end within the segment: a path is a path."""
    count = 1_000_000
    down = np.zeros(count, CALL)
    down["kind"], down["func"], down["tgid"] = 1, 2, PID
    down["id"], down["goid"], down["start"] = (
        np.arange(1, count + 1),
        np.arange(1, count + 1),
        np.arange(count),
    )
    leaves = down[: count // 2].copy()
    leaves["kind"], leaves["func"], leaves["parent"], leaves["id"] = 2, 3, leaves["id"], leaves["id"] + count
    up = down.copy()
    up["kind"], up["wall"] = 2, 7
    convert(tmp_path / "r", [down, leaves, up])
    assert [(count * 3 // 2, count, 2)] == rows(
        tmp_path / "r", "select count(*), count(distinct goid), count(distinct path) from calls"
    )
    assert [(2, 1, 2), (3, 2, 1)] == [
        (func, path, 2 if func == 2 else 1)
        for func, path in rows(tmp_path / "r", "select distinct func, path from calls order by func")
    ]


def test_plain_duckdb_reads_it(tmp_path: Path) -> None:
    """As docs/recording-format.md says: files of the last segment for what is cumulative, of all for the rest."""
    convert(tmp_path / "r", [batch(opened(1), closed(2, 1, 1)), batch(closed(1))])
    query = f"""
        select c.id, p.func, p.parent, c.pid from '{tmp_path}/r/segments/*/calls.parquet' c
        join '{tmp_path}/r/segments/000001/paths.parquet' p on c.path = p.path order by c.id
    """
    assert [(1, 0, None, PID), (2, 1, 1, PID)] == duckdb.sql(query).fetchall()
