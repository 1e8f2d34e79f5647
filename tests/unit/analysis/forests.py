"""Random trees of calls, for Hypothesis."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.recordings import Spec, tables_of, write_recording
from undergo.recording.reader import Recordings, open_recordings

NAMES = ("main.a", "main.b", "main.(*T).c", "net/http.d")
_NS = st.integers(0, 3_000)
_OWN = st.tuples(st.integers(1, 5_000), _NS, _NS, _NS, _NS)
_REASONS = st.sampled_from(["chan receive", "sleep", "select"])
_FUNCS = st.integers(0, len(NAMES) - 1)
_ENDINGS = st.sampled_from(["return", "return", "return", "panic", "open"])
_GAPS = st.sampled_from([False] * 9 + [True])
_LEAVES = st.builds(Spec, _FUNCS, _OWN, _REASONS, st.just(()), _ENDINGS, _GAPS)
_TREES = st.recursive(
    _LEAVES,
    lambda beneath: st.builds(
        Spec, _FUNCS, _OWN, _REASONS, st.lists(beneath, max_size=3).map(tuple), _ENDINGS, _GAPS
    ),
    max_leaves=12,
)
_WHO = st.tuples(st.sampled_from([100, 101]), st.integers(1, 3))
FORESTS = st.dictionaries(_WHO, st.lists(_TREES, min_size=1, max_size=4), min_size=1, max_size=4)

Forest = Mapping[tuple[int, int], Sequence[Spec]]


@contextmanager
def recorded(*forests: Forest, **more: Any) -> Iterator[Recordings]:
    """A recording of each, opened together."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_recording(Path(folder) / str(at), NAMES, _halves(tables_of(forest)), **more)
            for at, forest in enumerate(forests)
        ]
        opened = open_recordings([str(path) for path in paths])
        yield opened
        opened.connection.close()


def _halves(tables: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, list[dict[str, Any]]]]:
    """The rows as two segments."""
    calls = len(tables["calls"]) // 2
    return [
        {"calls": tables["calls"][:calls], "waits": tables["waits"][:3]},
        {"calls": tables["calls"][calls:], "waits": tables["waits"][3:], "paths": tables["paths"]},
    ]


def calls_of(forest: Forest) -> Iterator[tuple[tuple[int, int], tuple[int, ...], Spec]]:
    """Each call with its goroutine and the functions from the outermost caller to itself."""

    def walk(spec: Spec, who: tuple[int, int], above: tuple[int, ...]) -> Iterator[Any]:
        path = (*above, spec.func)
        yield who, path, spec
        for one in spec.beneath:
            yield from walk(one, who, path)

    for who, roots in forest.items():
        for root in roots:
            yield from walk(root, who, ())
