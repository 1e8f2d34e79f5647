"""What changed, and what only seems to have."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from tests.recordings import call, write_recording
from undergo.analysis.changes import METRICS, Change, changes, compare, critical
from undergo.recording.meta import ExecutableRow
from undergo.recording.reader import Recordings, open_recordings

MS = 1_000_000


def recording(where: Path, seed: int, mean: dict[str, float], wave: float = 0.0, **more: object) -> Path:
    """Calls of each function around a mean, which swings slowly by the share `wave` while the recording lasts."""
    chance = random.Random(seed)
    rows = []
    for number in range(1_600):
        swing = 1 + wave * math.sin(number / 55 + seed)
        for func, ns in enumerate(mean.values()):
            waiting = round(ns * swing * chance.uniform(0.8, 1.2))
            id = number * len(mean) + func + 1
            rows.append(call(id, func, 0, number * MS, waiting + 1_000, waiting_ns=waiting))
    return write_recording(where, list(mean), [{"calls": rows}], **more)


def both(before: Path, after: Path) -> tuple[Recordings, dict[str, Change]]:
    opened = open_recordings([str(before), str(after)])
    return opened, {row.name: row for row in changes(opened, 1)}


def test_a_change_beyond_noise(tmp_path: Path) -> None:
    """What became 10 % slower is told apart from what did not, and from which bin it comes."""
    before = recording(tmp_path / "a", 1, {"main.same": 50_000, "main.slower": 50_000, "main.faster": 90_000})
    after = recording(tmp_path / "b", 2, {"main.same": 50_000, "main.slower": 55_000, "main.faster": 70_000})
    opened, found = both(before, after)
    assert ["main.faster", "main.slower", "main.same"] == [row.name for row in changes(opened, 1)]
    for name, verdict in (("main.same", "same"), ("main.slower", "more"), ("main.faster", "less")):
        assert {"mean": verdict, "p50": verdict, "waiting": verdict, "running": "same"} == {
            metric: found[name].verdicts[metric] for metric in ("mean", "p50", "waiting", "running")
        }
    difference = found["main.slower"].difference("waiting")
    assert difference is not None
    assert difference == pytest.approx(5_000, abs=300)
    assert difference == found["main.slower"].difference("mean")
    assert 0 == found["main.slower"].difference("running")


def test_what_varies_anyway_is_noise(tmp_path: Path) -> None:
    """Where the figures swing by 30 % while a recording lasts, 5 % between recordings say nothing."""
    before = recording(tmp_path / "a", 1, {"main.f": 50_000}, wave=0.3)
    after = recording(tmp_path / "b", 4, {"main.f": 52_500}, wave=0.3)
    _, found = both(before, after)
    assert "same" == found["main.f"].verdicts["mean"]
    # by the calls themselves, without regard to when they were, it would be "significant"
    _, found = both(
        recording(tmp_path / "c", 1, {"main.f": 50_000}), recording(tmp_path / "d", 4, {"main.f": 52_500})
    )
    assert "more" == found["main.f"].verdicts["mean"]


def test_functions_of_one_side(tmp_path: Path) -> None:
    before = recording(tmp_path / "a", 1, {"main.old": 5_000, "main.both": 5_000})
    after = recording(tmp_path / "b", 2, {"main.both": 5_000, "main.new": 9_000})
    _, found = both(before, after)
    assert (True, True, False) == tuple(
        found[name].before is not None for name in ("main.old", "main.both", "main.new")
    )
    assert (False, True, True) == tuple(
        found[name].after is not None for name in ("main.old", "main.both", "main.new")
    )
    assert {} == found["main.new"].verdicts
    assert [(True, False), (True, True), (False, True)] == [
        found[name].recorded for name in ("main.old", "main.both", "main.new")
    ]
    assert found["main.new"].difference("mean") is None


def test_the_executable_may_have_another_name(tmp_path: Path) -> None:
    """shop and shop.new are compared by the names of their functions."""
    before = recording(tmp_path / "a", 1, {"main.f": 5_000})
    new = (ExecutableRow("/bin/shop.new", "go1.27.3", "c", "shop"),)
    after = recording(tmp_path / "b", 2, {"main.f": 5_000}, executables=new)
    opened = open_recordings([str(before), str(after)])
    rows = changes(opened, 1)
    assert 1 == len(rows)
    assert rows[0].before is not None
    assert rows[0].after is not None


def test_too_few_calls_to_tell(tmp_path: Path) -> None:
    few = [call(n + 1, 0, 0, n * MS, 1_000 * (n + 1)) for n in range(6)]
    paths = [write_recording(tmp_path / name, ["main.f"], [{"calls": few}]) for name in ("a", "b")]
    _, found = both(*paths)
    assert {"unknown"} == set(found["main.f"].verdicts.values())
    assert METRICS.keys() == found["main.f"].verdicts.keys()


def test_without_calls(tmp_path: Path) -> None:
    empty = write_recording(tmp_path / "a", [], [{}])
    some = recording(tmp_path / "b", 2, {"main.f": 5_000})
    _, found = both(empty, some)
    assert found["main.f"].before is None
    assert [] == changes(open_recordings([str(empty), str(empty)]), 1)


def test_chance_seldom_counts() -> None:
    """Of a thousand pairs of like samples some one is found to differ; the promise is one."""
    chance = random.Random(5)
    pairs = [[[chance.gauss(100, 20) for _ in range(16)] for _ in range(2)] for _ in range(4_000)]
    assert sum(compare(*pair) != "same" for pair in pairs) <= 14
    different = [[[chance.gauss(mean, 20) for _ in range(16)] for mean in (100, 145)] for _ in range(500)]
    assert sum(compare(*pair) == "more" for pair in different) >= 490


@pytest.mark.parametrize("degrees", [2, 3, 5, 7, 9, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 30])
def test_the_table_of_t(degrees: int) -> None:
    """Beyond the critical value lies a thousandth of Student's distribution, by numeric integration."""
    scale = math.gamma((degrees + 1) / 2) / (math.sqrt(degrees * math.pi) * math.gamma(degrees / 2))
    top, steps = critical(degrees), 20_000
    width = top / steps
    inside = (
        2
        * width
        * sum(
            scale * (1 + ((at + 0.5) * width) ** 2 / degrees) ** (-(degrees + 1) / 2) for at in range(steps)
        )
    )
    assert 0.001 == pytest.approx(1 - inside, rel=0.02)
    assert critical(degrees) == critical(degrees + 0.9)


def test_no_variance_at_all() -> None:
    assert "same" == compare([5.0] * 8, [5.0] * 8)
    assert "more" == compare([5.0] * 8, [6.0] * 8)
    assert "less" == compare([5.0] * 8, [4.0] * 8)
    assert "unknown" == compare([5.0] * 4, [4.0] * 8)
