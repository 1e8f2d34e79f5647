"""Arguments and results as rows of a recording's table `captures`, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any

from undergo.events.values import Argument, Captured
from undergo.goexe.types import Types
from undergo.views.jsonlines import clean
from undergo.views.values import encoded, labels_as_arguments, text

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class CaptureRows:
    """Makes the lines; what they have in common is made once."""

    def __init__(self, types: Mapping[int, Types]) -> None:
        """`types` by FunctionPlan.id."""
        self._types = types
        self._common: dict[tuple[int, str, int, str, str], str] = {}

    def of(self, captures: Iterable[Captured]) -> bytes:
        """The lines of some captures."""
        lines: list[str] = []
        for one in captures:
            place, types = "result" if one.at_exit else "argument", self._types[one.func]
            for position, given in enumerate(one.arguments):
                lines.append(self._value(one, place, position, given, types))
            if one.labels:
                for position, given in enumerate(labels_as_arguments(one.labels)):
                    lines.append(self._value(one, "label", position, given, {}))
            for position, source in enumerate(one.stack):
                lines.append(self._row(one, "frame", position, source.function, "", "null", str(source)))
        return "".join(lines).encode()

    def _value(self, of: Captured, place: str, position: int, given: Argument, types: Types) -> str:
        value = _json(encoded(given.value, given.type, types))
        shown = text(given.value, given.type, types)
        return self._row(of, place, position, given.name, given.type.name, encode_basestring(value), shown)

    def _row(
        self, of: Captured, place: str, position: int, name: str, type_: str, value: str, shown: str
    ) -> str:
        key = (of.func, place, position, name, type_)
        common = self._common.get(key)
        if common is None:
            row = {"func": of.func, "place": place, "position": position, "name": name, "type": type_}
            common = clean(_dump(row))[1:-1]
            if place != "frame":  # of which there may be any number
                self._common[key] = common
        return (
            f'{{"call":{of.id},{common},"value":{clean(value)},"text":{clean(encode_basestring(shown))}}}\n'
        )


def _json(value: Any) -> str:
    """As the encoder says it, but sooner where it is a number or a text."""
    if type(value) is int:
        return str(value)
    return encode_basestring(value) if type(value) is str else _dump(value)
