"""--until: what the flight recorder waits for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from undergo.cli.options import DURATION
from undergo.errors import UsageError
from undergo.events.triggers import Happened, Trigger
from undergo.plan.capture import FunctionCapture
from undergo.plan.patterns import compile_pattern
from undergo.plan.probe_plan import ProbePlan
from undergo.views.style import compact, escape

_CALL = re.compile(r"(?P<name>\S.*?)\s+(?:(?P<slower>slower\s+than\s+(?P<limit>.+))|(?P<verb>panics|fails))")
_WAYS = "'main.handle slower than 2s', 'main.handle panics', 'main.handle fails', signal, or exit"


@dataclass(frozen=True, slots=True)
class Until:
    """What to wait for: triggers, and whether the end of tracing is one. A signal always is."""

    triggers: tuple[Trigger, ...] = ()
    exit: bool = False

    @property
    def failing(self) -> frozenset[int]:
        """Functions of which it must be known what they give back."""
        return frozenset[int]().union(*(each.funcs for each in self.triggers if each.kind == "fails"))


def until(texts: Sequence[str], plans: Sequence[ProbePlan]) -> Until:
    """From the values of --until; without any, the end of tracing. Raises UsageError."""
    triggers, at_exit = [], not texts
    for text in texts:
        if text in ("signal", "exit"):
            at_exit = at_exit or text == "exit"
            continue
        match = _CALL.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"--until: {text!r} is nothing to wait for", _WAYS)
        pattern = compile_pattern(match["name"])
        functions = {each.id: each.function.name for plan in plans for each in plan.functions}
        exact = {number for number, name in functions.items() if name == match["name"]}
        funcs = exact or {number for number, name in functions.items() if pattern.matches(name)}
        if not funcs:
            raise UsageError(
                f"--until: {match['name']} is not among the functions traced", "name it with -f too"
            )
        if match["slower"]:
            try:
                limit = DURATION.convert(match["limit"].strip(), None, None)
            except click.BadParameter as error:
                raise UsageError(f"--until: {error.message}") from None
            triggers.append(Trigger("slower", frozenset(funcs), limit))
        else:
            triggers.append(Trigger("panics" if match["verb"] == "panics" else "fails", frozenset(funcs)))
    return Until(tuple(triggers), at_exit)


def check_failing(wanted: Until, captures: Mapping[int, FunctionCapture], names: Mapping[int, str]) -> None:
    """Whether it is known what functions give back that may fail. Raises UsageError."""
    for function in sorted(wanted.failing):
        found = captures.get(function)
        last = found.exit.readings[-1:] if found and found.exit else ()
        if not last or last[0].parameter.type.name != "error":
            known = (
                "gives back no error last" if found and found.exit else "is not known to give back an error"
            )
            raise UsageError(f"--until: {names[function]} {known}", "say what it gives back with --sig")


def told(found: Happened, names: Mapping[int, str]) -> str:
    """What happened, for people."""
    name = escape(names[found.func])
    if found.trigger.kind == "fails":
        return f"{name} gave back an error"
    where = f" in goroutine {found.goid} of process {found.pid}"
    if found.trigger.kind == "panics":
        return f"{name} panicked{where}"
    took = "has taken" if found.still else "took"
    return f"{name} {took} {compact(found.wall_ns or 0)}{where}"
