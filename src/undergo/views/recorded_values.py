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

    def arguments(self, call: int, func: int, at: int = 0) -> str:
        """What stands between a call's parentheses."""
        found = self._of(call, func, "argument")
        if found is None:
            return _LOST
        return ", ".join(f"{escape(one.name) or '_'}={_cut(one.text)}" for one in found)

    def labels(self, call: int) -> str:
        """What follows a call's arguments: ` [tenant="acme"]`."""
        found = [one for one in self._captured.get(call, ()) if one.place == "label"]
        return f" [{', '.join(f'{escape(one.name)}={_cut(one.text)}' for one in found)}]" if found else ""

    def stack(self, call: int, until: str = "") -> list[str]:
        """Who called it, innermost first, as far as a function that is shown anyway."""
        shown = []
        for one in self._captured.get(call, ()):
            if one.place == "frame":
                if one.name == until:
                    break
                shown.append(escape(one.text))
        return shown

    def results(self, call: int, func: int, end: str, at: int = 0) -> str:
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
        others = self._captured.get(call, ())
        if labels := {one.name: json.loads(one.value) for one in others if one.place == "label"}:
            found["labels"] = labels
        if stack := [one.text for one in others if one.place == "frame"]:
            found["stack"] = stack
        return found

    def forget(self, call: int) -> None:
        """Recorded values stay."""

    def _of(self, call: int, func: int, place: str) -> list[Captured] | None:
        found = [one for one in self._captured.get(call, ()) if one.place == place]
        return None if not found and func in self._having.get(place, ()) else found


def _cut(text: str) -> str:
    shown = escape(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
