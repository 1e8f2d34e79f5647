"""The same queries on PySpark give the same rows. Needs Java and the extra `fleet`; without them it is skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import Spec, tables_of, write_recording
from undergo.analysis.ask import ask
from undergo.analysis.queries import BY_PATH, ORDER, By, Queries
from undergo.recording.reader import Recordings, open_recordings
from undergo.recording.tables import CUMULATIVE, TABLES

pyspark = pytest.importorskip("pyspark", reason="needs the extra: pip install 'undergo[fleet]'")
pytestmark = pytest.mark.skipif(
    not shutil.which("java") and "JAVA_HOME" not in os.environ, reason="needs Java"
)

#: What Spark calls exact quantiles; everything else is the same text.
PERCENTILES = "percentile(wall_ns, array(0.5, 0.9, 0.99))"
WAYS = [By("func"), By("process"), By("goroutine"), By("callpath"), By("wait"), By("arg", "n")]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls of four functions in four goroutines, some open, some panicked, some without a split."""

    def spec(n: int) -> Spec:
        inner = Spec(
            1 + n % 3,
            (n, n % 5, n % 7, 3, n * n % 1_009),
            ("sleep", "select", "IO wait")[n % 3],
            gap=n % 17 == 0,
        )
        ending = "open" if n % 29 == 0 else "panic" if n % 13 == 0 else "return"
        return Spec(0, (50 + n, 0, 4, 1, n % 11), "chan receive", (inner,), ending)

    forest = {(100 + n % 2, 1 + n // 2): [spec(m) for m in range(n, 400, 4)] for n in range(4)}
    tables = tables_of(forest)
    tables["captures"] = [
        {"call": row["id"], "func": row["func"], "place": "argument", "position": 0, "name": "n", "type": "int",
         "value": str(row["id"] % 5), "text": str(row["id"] % 5)}
        for row in tables["calls"] if row["func"] in (0, 2) and row["id"] % 10
    ]  # fmt: skip
    half = len(tables["calls"]) // 2
    rest = {name: rows for name, rows in tables.items() if name != "calls"}
    segments = [{"calls": tables["calls"][:half]}, {"calls": tables["calls"][half:], **rest}]
    return write_recording(tmp_path_factory.mktemp("spark") / "r", [f"main.f{n}" for n in range(4)], segments)


@pytest.fixture(scope="module")
def spark(recording: Path) -> Iterator[Any]:
    """A local Spark with the recording's tables as views."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    for table in TABLES:
        files = sorted(map(str, recording.glob(f"segments/*/{table}.parquet")))
        if files:
            rows = session.read.parquet(*(files[-1:] if table in CUMULATIVE else files))
            rows.selectExpr("0 as recording", "*").createOrReplaceTempView(table)
    yield session
    session.stop()


@pytest.fixture(scope="module")
def duck(recording: Path) -> Recordings:
    return open_recordings([str(recording)])


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(round(each, 6) for each in value)
    return value


def rows(found: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(plain, row)) for row in found), key=repr)


@pytest.mark.parametrize("by", WAYS, ids=str)
@pytest.mark.parametrize("where", ["true and true", "func in (0, 2) and recording between 0 and 0"])
def test_latencies(by: By, where: str, duck: Recordings, spark: Any) -> None:
    on_duck, on_spark = Queries(by, where), Queries(by, where, PERCENTILES)
    wanted = rows(ask(duck, on_duck.query(ORDER["sum"], None)))
    assert wanted
    assert wanted == rows(spark.sql(on_spark.query(ORDER["sum"], None)).collect())
    assert rows(ask(duck, on_duck.histograms())) == rows(spark.sql(on_spark.histograms()).collect())
    if by.kind != "wait":
        assert rows(ask(duck, on_duck.waits())) == rows(spark.sql(on_spark.waits()).collect())


def test_order(duck: Recordings, spark: Any) -> None:
    """The first rows by a sum are the same ones, in the same order."""
    for key in ("sum", "calls", "waiting", "max"):
        query = Queries(By("goroutine"), "true").query(ORDER[key], 3)
        on_spark = Queries(By("goroutine"), "true", PERCENTILES).query(ORDER[key], 3)
        wanted = [tuple(map(plain, row)) for row in ask(duck, query)]
        assert wanted == [tuple(map(plain, row)) for row in spark.sql(on_spark).collect()]


def test_graph(duck: Recordings, spark: Any) -> None:
    assert rows(ask(duck, BY_PATH)) == rows(spark.sql(BY_PATH).collect())
