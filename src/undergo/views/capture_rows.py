"""Arguments and results as rows of a recording's table `captures`, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from undergo.events.values import Captured
from undergo.goexe.types import Types
from undergo.views.jsonlines import clean
from undergo.views.values import encoded, text

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def capture_rows(captures: Iterable[Captured], types: Mapping[int, Types]) -> bytes:
    """The lines; `types` by FunctionPlan.id."""
    lines = []
    for one in captures:
        place, known = "result" if one.at_exit else "argument", types[one.func]
        for position, argument in enumerate(one.arguments):
            row = {
                "call": one.id,
                "func": one.func,
                "place": place,
                "position": position,
                "name": clean(argument.name),
                "type": clean(argument.type.name),
                "value": clean(_dump(encoded(argument.value, argument.type, known))),
                "text": clean(text(argument.value, argument.type, known)),
            }
            lines.append(_dump(row) + "\n")
    return "".join(lines).encode()
