"""Exports of times by call path, read by what they are for."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import UNSPLIT, call, write_recording
from tests.unit.exports.conftest import HOSTILE, NAMES
from tools import toolchains
from undergo.exports import flamegraph, folded, pprof, speedscope
from undergo.exports.stacks import stacks
from undergo.recording.reader import open_recordings

LEFT = 10**9 - 60  # what the call of goroutine 3, which never ends, has


def lines(path: Path, value: str) -> list[str]:
    opened, out = open_recordings([str(path)]), io.BytesIO()
    folded.export(stacks(opened), out, value)
    return out.getvalue().decode().splitlines()


def test_folded_lines(recording: Path) -> None:
    """A line per path; a name with `;` and line ends in it is one function of one line."""
    name = r'main."</script><script>alert(1)</script>:b\n\x1b[31m\ '[:-1]
    assert ["main.serve 70", "main.serve;main.(*shop).charge 30", f"{name} {5 + LEFT}"] == lines(
        recording, "wall"
    )
    assert ["main.serve 5", "main.serve;main.(*shop).charge 20"] == lines(recording, "waiting")
    assert ["main.serve 1", "main.serve;main.(*shop).charge 2", f"{name} 2"] == lines(recording, "calls")
    assert [f"{name} 5"] == lines(recording, "unsplit")


def test_folded_of_nothing(empty: Path) -> None:
    assert [] == lines(empty, "wall")


def go() -> str | None:
    found = toolchains.path_of("1.27.3")
    named = [path for path in os.environ.get("UNDERGO_GO", "").split(":") if path]
    return str(found) if found.exists() else named[-1] if named else shutil.which("go")


needs_go = pytest.mark.skipif(not go(), reason="needs a Go toolchain")


def profile(path: Path, folder: Path, notes: tuple[str, ...] = ()) -> Path:
    opened, out = open_recordings([str(path)]), io.BytesIO()
    pprof.export(stacks(opened), opened, out, notes)
    (folder / "profile.pb.gz").write_bytes(out.getvalue())
    return folder / "profile.pb.gz"


def tool(*arguments: str) -> str:
    done = subprocess.run(
        [str(go()), "tool", "pprof", *arguments], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


@needs_go
def test_pprof_sees_all(recording: Path, tmp_path: Path) -> None:
    """Types, samples with their stacks, reasons as labels, files and lines, and comments."""
    path = profile(recording, tmp_path, ("3 hits were lost",))
    raw = tool("-raw", str(path))
    header = "calls/count wall/nanoseconds[dflt] cpu/nanoseconds descheduled/nanoseconds syscall/nanoseconds"
    assert f"{header} runnable/nanoseconds wait/nanoseconds unsplit/nanoseconds" in raw
    samples = re.findall(
        r"^ +([\d ]+): ([\d ]+?) *\n(?: +wait reason:\[(.*)\])?", raw.partition("Samples:")[2], re.M
    )
    found = {
        (tuple(map(int, values.split())), tuple(stack.split()), label.removeprefix("wait reason:[")): 1
        for values, stack, label in samples
    }
    # values: calls wall cpu descheduled syscall runnable wait unsplit
    assert {
        ((1, 65, 60, 0, 5, 0, 0, 0), 1, ""), ((0, 5, 0, 0, 0, 0, 5, 0), 1, "chan receive"),
        ((2, 10, 10, 0, 0, 0, 0, 0), 2, ""), ((0, 20, 0, 0, 0, 0, 20, 0), 2, "sleep"),
        ((2, 5 + LEFT, LEFT, 0, 0, 0, 0, 5), 1, ""),
    } == {(values, len(stack), label) for values, stack, label in found}  # fmt: skip
    assert "main.(*shop).charge main.go:1" in raw
    assert "sleep" in tool("-tags", "-sample_index=wait", str(path))
    top = tool("-top", "-sample_index=wait", "-unit=ns", str(path))
    assert re.search(r"20ns +80.00% +\S+ +20ns +80.00% +main\.\(\*shop\)\.charge", top)
    assert re.search(r" 5ns +20.00% +\S+ +25ns +100% +main\.serve", top)
    assert "3 hits were lost" in tool("-comments", str(path))
    assert HOSTILE.encode() in gzip.decompress(path.read_bytes())


@needs_go
def test_pprof_without_splits_has_wall_time_alone(tmp_path: Path) -> None:
    paths = [{"path": 1, "parent": None, "func": 0, "depth": 0}]
    made = write_recording(
        tmp_path / "r", NAMES, [{"calls": [call(1, 0, 1, 0, 9, **UNSPLIT)], "paths": paths}]
    )
    raw = tool("-raw", str(profile(made, tmp_path)))
    assert "calls/count wall/nanoseconds[dflt] unsplit/nanoseconds\n" in raw


@needs_go
def test_pprof_of_nothing(empty: Path, tmp_path: Path) -> None:
    assert "wall" in tool("-raw", str(profile(empty, tmp_path)))


def speedscope_file(path: Path) -> Any:
    opened, out = open_recordings([str(path)]), io.BytesIO()
    speedscope.export(stacks(opened), opened, out, ["a note"])
    return json.loads(out.getvalue())


def test_speedscope_profiles(recording: Path, empty: Path) -> None:
    """What its schema asks for (file-format-schema.json of the npm package), and the numbers."""
    for found in (speedscope_file(recording), speedscope_file(empty)):
        assert "https://www.speedscope.app/file-format-schema.json" == found["$schema"]
        assert {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"} == set(found)
        for frame in found["shared"]["frames"]:
            assert set(frame) <= {"name", "file", "line", "col"} and isinstance(frame["name"], str)
        for one in found["profiles"]:
            assert {"type", "name", "unit", "startValue", "endValue", "samples", "weights"} == set(one)
            assert "sampled" == one["type"] and one["unit"] in ("none", "nanoseconds")
            assert len(one["samples"]) == len(one["weights"])
            assert sum(one["weights"]) == one["endValue"]
            assert all(0 <= at < len(found["shared"]["frames"]) for stack in one["samples"] for at in stack)
    found = speedscope_file(recording)
    assert "run.undergo · a note" == found["name"]
    names = [frame["name"] for frame in found["shared"]["frames"]]
    waiting = next(one for one in found["profiles"] if one["name"] == "waiting")
    assert [["main.serve"], ["main.serve", "main.(*shop).charge"]] == [
        [names[at] for at in stack] for stack in waiting["samples"]
    ]
    assert [5, 20] == waiting["weights"]


def page(path: Path) -> str:
    opened, out = open_recordings([str(path)]), io.BytesIO()
    flamegraph.export(stacks(opened), opened, out, ["lost <b>3</b>"])
    return out.getvalue().decode()


def test_the_flame_graph_is_one_page_that_names_cannot_break(recording: Path) -> None:
    """Nothing is fetched, and what the traced program is called by stays data."""
    text = page(recording)
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|fetch\(|https?://""", text)
    assert 2 == text.count("</script>") and "<b>3" not in text
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[0])
    assert r'main."</script><script>alert(1)</script>;b\n\x1b[31m\ '[:-1] in data["names"]
    assert 4 == len(data["nodes"]["wall"]) and 5 == sum(data["nodes"]["calls"])
    assert {"sleep": 20, "chan receive": 5} == {
        data["reasons"][reason]: ns for _, reason, ns in zip(*data["waits"].values(), strict=True)
    }


chromium = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(not chromium, reason="needs chromium")
@pytest.mark.parametrize("which", ["recording", "empty"])
def test_a_browser_draws_the_flame_graph(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Its script runs to its end, under its own security policy, and shows what there is."""
    (tmp_path / "page.html").write_text(page(request.getfixturevalue(which)))
    shown_by = browse(tmp_path)
    assert re.search(r'<html lang="en"[^>]* data-drawn="\d+"', shown_by)
    shown = "5 calls" if which == "recording" else "no calls were recorded"
    assert shown in shown_by
    assert "lost &lt;b&gt;3" in shown_by
    if which == "recording":
        found = re.search(r'id="found"[^>]*>([^<]*)<', browse(tmp_path, "#search=charge"))
        assert found is not None
        assert found[1].endswith("% in 1 frame")
        nothing = re.search(r'id="found"[^>]*>([^<]*)<', browse(tmp_path, "#search=nowhere"))
        assert nothing is not None
        assert "nothing found" == nothing[1]


def browse(where: Path, after: str = "") -> str:
    """What page.html has become once its script has run."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={where}/profile"]
    page_at = f"file://{where}/page.html{after}"
    done = subprocess.run(
        [str(chromium), *options, "--virtual-time-budget=2000", "--dump-dom", page_at],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout, done.stderr[-2000:]
    return done.stdout
