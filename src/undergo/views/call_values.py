"""The arguments and results of calls that are not yet shown, by call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from undergo.events.values import Captured
from undergo.goexe.types import Types
from undergo.views.values import arguments, encoded, results

KEPT = 200_000  # calls whose values are kept; beyond, the oldest are given up
_LOST = "<lost>"


class CallValues:
    """Takes values as they come and gives them out once, with the call they belong to."""

    def __init__(self, types: Mapping[int, Types], args: frozenset[int], results: frozenset[int]) -> None:
        """`types` by FunctionPlan.id; `args` and `results` are the functions whose values were asked for."""
        self._types = types
        self._wanted = (args, results)
        self._waiting: tuple[dict[int, Captured], dict[int, Captured]] = ({}, {})

    def feed(self, captures: Iterable[Captured]) -> None:
        """Keep values until their calls are shown."""
        for one in captures:
            waiting = self._waiting[one.at_exit]
            waiting[one.id] = one
            if len(waiting) > KEPT:
                del waiting[next(iter(waiting))]

    def arguments(self, call: int, func: int) -> str:
        """What stands between a call's parentheses: "" where that was not asked for."""
        found = self._waiting[0].get(call)
        if found is None:
            return _LOST if func in self._wanted[0] else ""
        return arguments(found.arguments, self._types[func])

    def results(self, call: int, func: int, end: str) -> str:
        """What follows a call that returned: ` → 3`, "" if it has no results or did not return."""
        if func not in self._wanted[1] or end != "return":
            return ""
        found = self._waiting[1].get(call)
        if found is None:
            return f" → {_LOST}"
        return f" → {results(found.arguments, self._types[func])}" if found.arguments else ""

    def failed(self, call: int) -> bool:
        """Whether the last thing the call gave back is an error that is not nil."""
        found = self._waiting[1].get(call)
        return found is not None and found.failed

    def members(self, call: int, func: int) -> dict[str, Any]:
        """The members "args" and "results" of a call's line; null where they were asked for and lost."""
        found = {}
        for name, wanted, waiting in zip(("args", "results"), self._wanted, self._waiting, strict=True):
            if func in wanted:
                values = waiting.get(call)
                found[name] = None if values is None else self._listed(values)
        return found

    def forget(self, call: int) -> None:
        """The call has ended and is shown."""
        for waiting in self._waiting:
            waiting.pop(call, None)

    def _listed(self, found: Captured) -> list[dict[str, Any]]:
        types = self._types[found.func]
        return [
            {"name": one.name, "type": one.type.name, "value": encoded(one.value, one.type, types)}
            for one in found.arguments
        ]
