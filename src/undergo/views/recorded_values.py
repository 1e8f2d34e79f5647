"""Recorded arguments and results, as `trace` would have shown them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from undergo.analysis.trees import Captured
from undergo.views.style import escape

_LONGEST = 160  # characters of one value in a line
_LOST = "<lost>"
_MEMBERS = {"argument": "args", "result": "results"}


class RecordedValues:
    """Gives them to trees and to lines of calls."""

    def __init__(
        self, captured: Mapping[int, Sequence[Captured]], having: Mapping[str, Collection[int]]
    ) -> None:
        """`captured` by call; `having` are the functions that have some in other calls, by place."""
        self._captured, self._having = captured, having

    def arguments(self, call: int, func: int) -> str:
        """What stands between a call's parentheses."""
        found = self._of(call, func, "argument")
        if found is None:
            return _LOST
        return ", ".join(f"{escape(one.name) or '_'}={_cut(one.text)}" for one in found)

    def results(self, call: int, func: int, end: str) -> str:
        """What follows a call that returned: ` → 3`."""
        found = self._of(call, func, "result") if end == "return" else []
        if found is None:
            return f" → {_LOST}"
        if not found:
            return ""
        shown = [(f"{escape(one.name)}=" if one.name else "") + _cut(one.text) for one in found]
        return f" → ({', '.join(shown)})" if len(shown) != 1 or found[0].name else f" → {shown[0]}"

    def members(self, call: int, func: int) -> dict[str, Any]:
        """The members "args" and "results" of a call's line; null where other calls have them."""
        found: dict[str, Any] = {}
        for place, name in _MEMBERS.items():
            rows = self._of(call, func, place)
            if rows is None:
                found[name] = None
            elif rows:
                found[name] = [
                    {"name": one.name, "type": one.type, "value": json.loads(one.value)} for one in rows
                ]
        return found

    def forget(self, call: int) -> None:
        """Recorded values stay."""

    def _of(self, call: int, func: int, place: str) -> list[Captured] | None:
        found = [one for one in self._captured.get(call, ()) if one.place == place]
        return None if not found and func in self._having.get(place, ()) else found


def _cut(text: str) -> str:
    shown = escape(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
