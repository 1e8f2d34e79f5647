"""The arguments and results of calls that are not yet shown, by call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from undergo.events.values import Captured, CaptureDecoder
from undergo.goexe.types import Types
from undergo.views.style import escape
from undergo.views.values import arguments, encoded, encoded_labels, labels, results

MOST = 1 << 28  # bytes of captures that are kept; beyond, the oldest are given up
_OBJECT = 250  # bytes that Python takes to keep one, beside its own
_LOST = "<lost>"


class CallValues:
    """Takes captures as they come, and gives them out with the call they belong to.

    Only then are they made sense of: most calls may never be shown.
    """

    def __init__(
        self,
        decoder: CaptureDecoder,
        types: Mapping[int, Types],
        args: frozenset[int],
        results: frozenset[int],
        *,
        labels: bool = False,
        stacks: bool = False,
        most: int = MOST,
    ) -> None:
        """`types` by FunctionPlan.id; `args` and `results` are the functions whose values were asked for.

        `labels` and `stacks`: those were, too. The decoder is for nobody else.
        """
        self._decoder = decoder
        self._types = types
        self._wanted = (args, results)
        self._labels = labels
        self._stacks = stacks
        self._most = most
        self._bytes = 0
        self._waiting: dict[tuple[int, bool], bytes] = {}  # by call, and whether it is about its return
        self._seen: dict[tuple[int, bool], Captured | None] = {}  # those that were asked for

    def feed(self, captures: Iterable[bytes]) -> None:
        """Keep them until their calls are shown."""
        for raw in captures:
            key = self._decoder.whose(raw)
            self._give_up(key)  # a second one would be in place of the first
            self._waiting[key] = raw
            self._bytes += len(raw) + _OBJECT
        while self._bytes > self._most:
            self._give_up(next(iter(self._waiting)))

    def _of(self, call: int, at_exit: bool) -> Captured | None:
        key = (call, at_exit)
        if key not in self._seen:
            raw = self._waiting.get(key)
            if raw is None:
                return None
            if at_exit:
                self._of(call, False)  # which tells what generic results are
            self._seen[key] = self._decoder.one(raw)
        return self._seen[key]

    def arguments(self, call: int, func: int, at: int) -> str:
        """What stands between a call's parentheses: "" where that was not asked for.

        `at` is when it began, in ns since the epoch.
        """
        found = self._of(call, False)
        if func not in self._wanted[0]:
            return ""
        return _LOST if found is None else arguments(found.arguments, self._types[func], at)

    def labels(self, call: int) -> str:
        """What follows a call's name and arguments: ` [tenant=acme]`, "" if its goroutine has no labels."""
        if not self._labels:
            return ""
        found = self._of(call, False)
        if found is None:
            return f" [{_LOST}]"
        return f" [{labels(found.labels)}]" if found.labels else ""

    def stack(self, call: int, until: str = "") -> list[str]:
        """Who called it, innermost first, as far as a function that is shown above it anyway."""
        if not self._stacks:
            return []
        found = self._of(call, False)
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
        found = self._of(call, True)
        if found is None:
            return f" → {_LOST}"
        return f" → {results(found.arguments, self._types[func], at)}" if found.arguments else ""

    def failed(self, call: int) -> bool:
        """Whether the last thing the call gave back is an error that is not nil."""
        found = self._of(call, True)
        return found is not None and found.failed

    def members(self, call: int, func: int) -> dict[str, Any]:
        """The members "args" and "results" of a call's line; null where they were asked for and lost."""
        found: dict[str, Any] = {}
        for at_exit, (name, wanted) in enumerate(zip(("args", "results"), self._wanted, strict=True)):
            if func in wanted:
                values = self._of(call, bool(at_exit))
                found[name] = None if values is None else self._listed(values)
        if self._labels:
            given = self._of(call, False)
            found["labels"] = None if given is None else encoded_labels(given.labels)
        if self._stacks:
            given = self._of(call, False)
            found["stack"] = None if given is None else [str(source) for source in given.stack]
        return found

    def forget(self, call: int) -> None:
        """The call has ended and is shown."""
        for at_exit in (False, True):
            self._give_up((call, at_exit))

    def _give_up(self, key: tuple[int, bool]) -> None:
        raw = self._waiting.pop(key, None)
        if raw is not None:
            self._bytes -= len(raw) + _OBJECT
        self._seen.pop(key, None)

    def _listed(self, found: Captured) -> list[dict[str, Any]]:
        types = self._types[found.func]
        return [
            {"name": one.name, "type": one.type.name, "value": encoded(one.value, one.type, types)}
            for one in found.arguments
        ]
