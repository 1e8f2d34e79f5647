"""`latency --prometheus` while the program runs: its figures are the program's own, for a real Prometheus too."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.conftest import CACHE, ROOT, Build
from tests.live.tracing import LIMIT, assert_adds_up, truth_in, undergo

#: Calls of one round of the program `scraped`, by how they end; the last of these names is a generic function's.
ROUND = {
    "main.serve": ("return", 20),
    "main.fail": ("panic", 3),
    "main.quit": ("goexit", 1),
    "main.twice[...]": ("return", 1010),
}
#: The questions of the documentation.
PROMQL = re.findall(r"^```promql\n(.*?)^```", (ROOT / "docs/prometheus.md").read_text(), re.M | re.S)
LIST = '/list\n"all"\\'

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Program:
    """The program `scraped`, at work."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def round(self) -> None:
        """One round of calls; after the first, main.hold is open."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("more\n")
        self.process.stdin.flush()
        assert "DONE\n" == self.process.stdout.readline()

    def finish(self) -> dict[str, dict[str, int]]:
        """Its account, once it has ended."""
        out, _ = self.process.communicate(timeout=LIMIT)
        assert 0 == self.process.returncode
        return truth_in(out)


@contextmanager
def started(path: Path) -> Iterator[Program]:
    process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "READY\n" == process.stdout.readline()
        yield Program(process)
    finally:
        process.kill()
        process.communicate()


@dataclass
class Served:
    """undergo, and where it answers."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def get(self, path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
        """Status, body and content type."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=LIMIT)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.headers["Content-Type"]

    def scrape(self) -> Samples:
        """All samples."""
        status, body, content_type = self.get()
        assert (200, "text/plain") == (status, content_type.partition(";")[0])
        return samples_of(parse_text(body))

    def until(self, what: Callable[[Samples], bool]) -> Samples:
        """The first scrape of which this is true; a call that ended a moment ago may be in the next one only."""
        deadline = time.monotonic() + LIMIT
        while not what(found := self.scrape()):
            assert time.monotonic() < deadline, found
        return found

    def end(self) -> tuple[str, str]:
        """Ctrl-C; what was on stdout and what on stderr."""
        self.process.send_signal(signal.SIGINT)
        out, rest = self.process.communicate(timeout=LIMIT)
        assert 0 == self.process.returncode, rest
        return out, rest


@contextmanager
def serving(*options: str) -> Iterator[Served]:
    line = undergo("latency", "--prometheus", ":0", *options)
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for text in process.stderr:
            said.append(text)
            if text.startswith("metrics at "):
                break
        else:
            pytest.fail("".join(said))
        where = urllib.parse.urlsplit(text.split()[-1])
        assert where.hostname and where.port
        yield Served(process, where.hostname, where.port)
    finally:
        process.kill()
        process.communicate()


def samples_of(families: Any) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name.removeprefix("undergo_"), frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def of(samples: Samples, name: str, function: str, **labels: str) -> float:
    """The sum of the samples that have at least these labels."""
    wanted = {"function": function, **labels}.items()
    return sum(value for (this, has), value in samples.items() if this == name and wanted <= has)


@pytest.fixture(params=["1.19", "1.27"])
def program(request: pytest.FixtureRequest, build: Build) -> Iterator[Program]:
    with started(build("scraped", request.param)) as one:
        yield one


def test_scrapes_agree_with_the_program(program: Program) -> None:
    """After each round all its calls are there, by how they ended, with a histogram and a split that add up."""
    with serving("-p", str(program.pid), "-f", "main.*") as served:
        before: Samples = {}
        for rounds in range(1, 6):
            program.round()
            now = served.until(
                lambda found, n=rounds: of(found, "calls_total", "main.round", end="return") == n
            )
            for name, (end, count) in ROUND.items():
                whose = {"program": "scraped", "pid": str(program.pid)}
                assert count * rounds == of(now, "calls_total", name, end=end, **whose)
                assert count * rounds == of(now, "calls_total", name)
                assert count * rounds == of(now, "call_duration_seconds_count", name)
                assert count * rounds == of(now, "call_duration_seconds_bucket", name, le="+Inf")
                whole = of(now, "call_duration_seconds_sum", name)
                spent = of(now, "call_time_seconds_total", name) + of(now, "unsplit_seconds_total", name)
                assert whole == pytest.approx(spent, rel=1e-9)
                waited = of(now, "call_time_seconds_total", name, state="waiting")
                assert waited == pytest.approx(of(now, "call_waits_seconds_total", name), rel=1e-9)
            # ten sleeps of 1 ms and ten of 3 ms, none shorter than it says
            assert 0 == of(now, "call_duration_seconds_bucket", "main.serve", le="0.000524287")
            assert of(now, "call_duration_seconds_bucket", "main.serve", le="0.002097151") <= 10 * rounds
            assert of(now, "call_waits_seconds_total", "main.serve", reason="sleep") >= 0.03 * rounds
            assert 1 == of(now, "open_calls", "main.hold")
            assert 0 == of(now, "calls_total", "main.hold")
            counters = {key for key in now if key[0] != "open_calls"}
            assert all(now[key] >= before.get(key, 0) for key in counters)
            assert before.keys() <= now.keys()
            before = now
        assert ("dropped_total", frozenset({("cause", "ring full")})) in now
        assert 0 == sum(value for (name, _), value in now.items() if name == "dropped_total")
        out, rest = served.end()
        assert "CALLS" in out and "main.serve" in out
        assert "Traceback" not in rest
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((served.host, served.port))
    truth = program.finish()
    assert {name: 5 * count for name, (_, count) in ROUND.items()} == {
        name: truth[name]["calls"] for name in ROUND
    }


def test_pages(program: Program) -> None:
    """An index, OpenMetrics for those who ask, 404 for the rest."""
    with serving("-p", str(program.pid), "-f", "main.*") as served:
        program.round()
        status, body, kind = served.get("/")
        assert (200, "text/html") == (status, kind.partition(";")[0])
        assert "scraped" in body and 'href="/metrics"' in body
        assert 404 == served.get("/favicon.ico")[0]
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        status, body, kind = served.get(Accept=accept)
        assert (200, "application/openmetrics-text") == (status, kind.partition(";")[0])
        assert of(samples_of(parse_openmetrics(body)), "calls_total", "main.quit") == 1


def test_by(build: Build) -> None:
    """Values are labels, however odd, and without a split nothing is said of one."""
    with started(build("scraped", "1.27")) as program:
        options = ("-f", "main.serve", "--by", "path", "--no-split")
        with serving("-p", str(program.pid), *options) as served:
            program.round()
            now = served.until(lambda found: of(found, "calls_total", "main.serve") == 20)
            for value in ("/cart", LIST):
                assert 10 == of(now, "calls_total", "main.serve", value=value, rest="", end="return")
            assert not {name for name, _ in now if "time" in name or "waits" in name}


def test_with_json_interval_timeline_and_duration(program: Program) -> None:
    """The lines go on as ever meanwhile, and the last ones are what was scraped last."""
    options = ("--json", "--interval", "100ms", "--timeline", "--duration", "3s")
    with serving("-p", str(program.pid), "-f", "main.*", *options) as served:
        program.round()
        now = served.until(lambda found: of(found, "calls_total", "main.round") == 1)
        out, rest = served.process.communicate(timeout=LIMIT)
    assert 0 == served.process.returncode, rest
    lines = [json.loads(text) for text in out.splitlines()]
    assert_adds_up(lines[-1])
    last = {line["func"]: line for line in lines if line["type"] == "latency"}
    assert len([line for line in lines if line["type"] == "latency"]) > 2 * len(last)
    assert last["main.serve"]["calls"] == of(now, "calls_total", "main.serve") == 20
    seconds = of(now, "call_duration_seconds_sum", "main.serve")
    assert last["main.serve"]["wall_ns"]["sum"] == pytest.approx(seconds * 1e9)


def test_processes_that_have_ended_keep_their_counters(build: Build) -> None:
    """With -e; and none of their calls is open any more."""
    path = build("scraped", "1.27")
    with serving("-e", str(path), "-f", "main.*") as served:
        pids = []
        for _ in range(3):
            with started(path) as program:
                program.round()
                pids.append(str(program.pid))
                served.until(lambda found: of(found, "open_calls", "main.hold") == 1)
            # killed, with main.hold open
        now = served.until(lambda found: of(found, "open_calls", "main.hold") == 0)
        for pid in pids:
            assert 20 == of(now, "calls_total", "main.serve", pid=pid)


def test_scrapes_while_calls_end(build: Build) -> None:
    """Under load, by several at once: nothing falls, and buckets, ends and times of one scrape agree."""
    with ExitStack() as stack:
        process = subprocess.Popen([build("attach", "1.27")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(process.communicate)
        stack.callback(process.kill)
        served = stack.enter_context(serving("-p", str(process.pid), "-f", "main.*"))
        before: Samples = {}
        for _ in range(50):
            now = served.scrape()
            for name in ("main.outer", "main.inner"):
                assert of(now, "calls_total", name) == of(now, "call_duration_seconds_count", name)
                spent = of(now, "call_time_seconds_total", name) + of(now, "unsplit_seconds_total", name)
                assert of(now, "call_duration_seconds_sum", name) == pytest.approx(spent, rel=1e-9)
            assert all(now[key] >= value for key, value in before.items() if key[0] != "open_calls")
            before = now
        served.end()


@pytest.fixture(scope="session")
def prometheus_binary() -> str:
    """UNDERGO_PROMETHEUS, one that is installed, or what tools/prometheus.py fetched."""
    fetched = CACHE / "prometheus" / "usr" / "bin" / "prometheus"
    named = os.environ.get("UNDERGO_PROMETHEUS") or shutil.which("prometheus")
    found = named or (str(fetched) if fetched.exists() else None)
    if found is None:
        pytest.skip("no Prometheus on PATH or in UNDERGO_PROMETHEUS: python tools/prometheus.py")
    return found


@contextmanager
def prometheus(binary: str, folder: Path, target: str) -> Iterator[Callable[[str], dict[str, float]]]:
    """One that scrapes `target`; given PromQL it answers with values by the label `function`."""
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: undergo, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    line += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    log = (folder / "log").open("w")
    process = subprocess.Popen(line, stdout=log, stderr=log, cwd=folder)

    def query(text: str) -> dict[str, float]:
        asked = urllib.parse.urlencode({"query": text})
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/api/v1/query?{asked}", timeout=LIMIT
            ) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            return {}  # not up yet
        return {one["metric"].get("function", ""): float(one["value"][1]) for one in result}

    try:
        yield query
        assert "" == (folder / "log").read_text()
    finally:
        process.terminate()
        process.wait(LIMIT)
        log.close()


def test_a_real_prometheus(prometheus_binary: str, program: Program, tmp_path: Path) -> None:
    """It takes every sample without a complaint, and its answers are the program's figures."""
    with (
        serving("-p", str(program.pid), "-f", "main.*") as served,
        prometheus(prometheus_binary, tmp_path, f"{served.host}:{served.port}") as query,
    ):
        deadline = time.monotonic() + LIMIT
        for rounds in (1, 2):
            program.round()
            while (
                query('undergo_calls_total{function="main.round", end="return"}').get("main.round") != rounds
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)  # nothing tells when it scrapes
        calls = query("sum by (function) (undergo_calls_total)")
        counts = query("sum by (function) (undergo_call_duration_seconds_count)")
        for name, (end, count) in ROUND.items():
            assert 2 * count == calls[name] == counts[name]
            assert 2 * count == query(f'sum by (function) (undergo_calls_total{{end="{end}"}})')[name]
        assert 1 == query("undergo_open_calls")["main.hold"]
        assert 1 == query("up")[""]
        now = served.scrape()
        half = query("histogram_quantile(0.5, undergo_call_duration_seconds_bucket)")["main.serve"]
        assert 0.001 <= half <= 0.0042
        waiting = query('undergo_call_time_seconds_total{state="waiting"}')["main.serve"]
        assert waiting == of(now, "call_time_seconds_total", "main.serve", state="waiting")
        sleeping = query('undergo_call_waits_seconds_total{reason="sleep"}')["main.serve"]
        assert sleeping == waiting
        for text in PROMQL:
            # of functions, but for the last, which asks whether anything was lost
            assert ("main.serve" in query(text)) != ("dropped" in text), text
