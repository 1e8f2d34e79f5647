"""Arguments and results as rows of a recording's table `captures`, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from undergo.events.values import Argument, Captured
from undergo.goexe.function import Source
from undergo.goexe.types import Types
from undergo.views.jsonlines import clean
from undergo.views.values import encoded, labels_as_arguments, text

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def capture_rows(captures: Iterable[Captured], types: Mapping[int, Types]) -> bytes:
    """The lines; `types` by FunctionPlan.id."""
    lines = []
    for one in captures:
        place, known = "result" if one.at_exit else "argument", types[one.func]
        for position, given in enumerate(one.arguments):
            lines.append(_row(one, place, position, given, known))
        for position, given in enumerate(labels_as_arguments(one.labels)):
            lines.append(_row(one, "label", position, given, {}))
        for position, source in enumerate(one.stack):
            lines.append(_frame(one, position, source))
    return "".join(lines).encode()


def _frame(of: Captured, position: int, source: Source) -> str:
    row = {"call": of.id, "func": of.func, "place": "frame", "position": position}
    row |= {"name": clean(source.function), "type": "", "value": None, "text": clean(str(source))}
    return _dump(row) + "\n"


def _row(of: Captured, place: str, position: int, given: Argument, types: Types) -> str:
    row = {
        "call": of.id,
        "func": of.func,
        "place": place,
        "position": position,
        "name": clean(given.name),
        "type": clean(given.type.name),
        "value": clean(_dump(encoded(given.value, given.type, types))),
        "text": clean(text(given.value, given.type, types)),
    }
    return _dump(row) + "\n"
