"""The arguments and results of calls that are not yet shown, by call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from undergo.events.values import Captured
from undergo.goexe.types import Types
from undergo.views.style import escape
from undergo.views.values import arguments, encoded, encoded_labels, labels, results

KEPT = 200_000  # calls whose values are kept; beyond, the oldest are given up
_LOST = "<lost>"


class CallValues:
    """Takes values as they come and gives them out once, with the call they belong to."""

    def __init__(
        self,
        types: Mapping[int, Types],
        args: frozenset[int],
        results: frozenset[int],
        *,
        labels: bool = False,
        stacks: bool = False,
    ) -> None:
        """`types` by FunctionPlan.id; `args` and `results` are the functions whose values were asked for.

        `labels` and `stacks`: those were, too.
        """
        self._types = types
        self._wanted = (args, results)
        self._labels = labels
        self._stacks = stacks
        self._waiting: tuple[dict[int, Captured], dict[int, Captured]] = ({}, {})

    def feed(self, captures: Iterable[Captured]) -> None:
        """Keep values until their calls are shown."""
        for one in captures:
            waiting = self._waiting[one.at_exit]
            waiting[one.id] = one
            if len(waiting) > KEPT:
                del waiting[next(iter(waiting))]

    def arguments(self, call: int, func: int, at: int) -> str:
        """What stands between a call's parentheses: "" where that was not asked for.

        `at` is when it began, in ns since the epoch.
        """
        found = self._waiting[0].get(call)
        if func not in self._wanted[0]:
            return ""
        return _LOST if found is None else arguments(found.arguments, self._types[func], at)

    def labels(self, call: int) -> str:
        """What follows a call's name and arguments: ` [tenant=acme]`, "" if its goroutine has no labels."""
        if not self._labels:
            return ""
        found = self._waiting[0].get(call)
        if found is None:
            return f" [{_LOST}]"
        return f" [{labels(found.labels)}]" if found.labels else ""

    def stack(self, call: int, until: str = "") -> list[str]:
        """Who called it, innermost first, as far as a function that is shown above it anyway."""
        if not self._stacks:
            return []
        found = self._waiting[0].get(call)
        if found is None:
            return [_LOST]
        shown = []
        for source in found.stack:
            if source.function == until:
                break
            shown.append(escape(str(source)))
        return shown

    def results(self, call: int, func: int, end: str, at: int) -> str:
        """What follows a call that returned: ` → 3`, "" if it has no results or did not return."""
        if func not in self._wanted[1] or end != "return":
            return ""
        found = self._waiting[1].get(call)
        if found is None:
            return f" → {_LOST}"
        return f" → {results(found.arguments, self._types[func], at)}" if found.arguments else ""

    def failed(self, call: int) -> bool:
        """Whether the last thing the call gave back is an error that is not nil."""
        found = self._waiting[1].get(call)
        return found is not None and found.failed

    def members(self, call: int, func: int) -> dict[str, Any]:
        """The members "args" and "results" of a call's line; null where they were asked for and lost."""
        found: dict[str, Any] = {}
        for name, wanted, waiting in zip(("args", "results"), self._wanted, self._waiting, strict=True):
            if func in wanted:
                values = waiting.get(call)
                found[name] = None if values is None else self._listed(values)
        if self._labels:
            given = self._waiting[0].get(call)
            found["labels"] = None if given is None else encoded_labels(given.labels)
        if self._stacks:
            given = self._waiting[0].get(call)
            found["stack"] = None if given is None else [str(source) for source in given.stack]
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
