"""Which recorded functions a command is about."""

from __future__ import annotations

from collections.abc import Sequence

from undergo.errors import UsageError
from undergo.plan.patterns import compile_pattern, nothing_matches
from undergo.recording.reader import Recordings


def selected(recordings: Recordings, patterns: Sequence[str]) -> tuple[int, ...] | None:
    """The functions that -f names, ascending; None without patterns: all. Raises UsageError."""
    if not patterns:
        return None
    found: set[int] = set()
    for text in patterns:
        if text.startswith("@"):
            raise UsageError(
                f"{text}: sets are known when a program is traced, not afterwards",
                "name recorded functions: -f 'main.*'; `undergo report RECORDING` lists them",
            )
        pattern = compile_pattern(text)
        names = recordings.names
        exact = [func for func, name in enumerate(names) if name == text] if pattern.literal else []
        matching = exact or [func for func, name in enumerate(names) if pattern.matches(name)]
        if not matching:
            error = nothing_matches(pattern, names)
            raise UsageError(
                f"{error.message} in what was recorded",
                error.hint if "mean" in error.hint else _hint(recordings),
            )
        found.update(matching)
    return tuple(sorted(found))


def _hint(recordings: Recordings) -> str:
    several = "s" if len(recordings.paths) > 1 else ""
    return f"`undergo report RECORDING` shows the functions of the recording{several}"


def only(column: str, functions: Sequence[int] | None) -> str:
    """A condition that `column` is one of the functions."""
    return "true" if functions is None else f"{column} in ({', '.join(map(str, functions))})"
