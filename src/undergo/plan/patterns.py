"""Patterns that name functions: a glob over the full name, or /a regular expression/.

In a glob `*` stands for anything (dots and slashes too) and `?` for one character; everything else, `[` too, is
itself, because Go's names are full of brackets, stars and parentheses:

    main.*    net/http.(*conn).serve    *.(*Mutex).Lock    main.Map[...]

`(*T)` needs no care: where a function has exactly the name given, only that one is meant. What begins with @
is a set of functions: sets.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from undergo.errors import UsageError

if TYPE_CHECKING:
    from undergo.goexe.functions import FunctionTable

_WILD: Final = frozenset("*?")
_RECEIVER: Final = re.compile(r"\(\*[^()*?]+\)")
_HINT: Final = "'undergo list' shows the functions of an executable"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One compiled pattern. `matches` is true (an object) for the names it selects."""

    text: str
    literal: bool  # it can be a name as it stands: a name of just that spelling goes before other matches
    matches: Callable[[str], object]


def compile_pattern(text: str) -> Pattern:
    """Compile what follows -f. Raises UsageError for an empty, unfinished or unreadable pattern."""
    if not text:
        raise UsageError("an empty pattern selects nothing", "give a function's name or a glob: -f 'main.*'")
    if text.startswith("/"):
        if len(text) < 3 or not text.endswith("/"):
            raise UsageError(
                f"{text}: a regular expression ends with /", "-f '/regex/', a glob has no slash first"
            )
        try:
            return Pattern(text, False, re.compile(text[1:-1], re.DOTALL).search)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(
                f"{text} is not a regular expression: {error}", "a glob is written without slashes"
            ) from None
    if _WILD.isdisjoint(text):
        return Pattern(text, True, text.__eq__)
    return Pattern(text, _is_method(text), re.compile(glob(text), re.DOTALL).fullmatch)


def rows_matching(functions: FunctionTable, pattern: Pattern) -> Sequence[int]:
    """Rows of the function table: of exactly that name if there are any, else all that match."""
    exact = functions.rows_named(pattern.text) if pattern.literal else ()
    return exact or functions.select(pattern.matches)


def _is_method(text: str) -> bool:
    """Whether the only wildcards are stars of pointer receivers: `net/http.(*conn).serve` is a name first."""
    return _WILD.isdisjoint(_RECEIVER.sub("", text))


def glob(text: str) -> str:
    """The regular expression of a glob, to be matched in full.

    Each part between stars is taken at its first place, atomically: no backtracking, however many stars.
    """
    first, *middle = re.split(r"\*+", text)
    if not middle:
        return _part(first)
    last = middle.pop()
    return _part(first) + "".join(f"(?>.*?{_part(part)})" for part in middle) + ".*" + _part(last)


def _part(text: str) -> str:
    return ".".join(re.escape(piece) for piece in text.split("?"))


def nothing_matches(pattern: Pattern, names: Collection[str], inlined: Iterable[str] = ()) -> UsageError:
    """The error for a pattern that selects no function, with the nearest names there are."""
    if pattern.text.startswith("/"):
        return UsageError(f"no function matches {pattern.text}", _HINT)
    near = near_misses(pattern.text, names)
    if not near:
        near = [f"{name} (inlined everywhere)" for name in near_misses(pattern.text, list(inlined))]
    hint = f"did you mean {_either(near)}?" if near else _HINT
    return UsageError(f"no function matches {pattern.text}", hint)


def near_misses(text: str, names: Collection[str], limit: int = 3) -> list[str]:
    """The names a mistyped one may have meant, best first: other case, package or receiver left out, a slip."""
    wanted = _plain(text)
    if not wanted:
        return []
    tail = "." + wanted
    bases: dict[str, list[str]] = {}
    # A name without its brackets ends like what was typed: the package, or a part of it, was left out.
    ends: list[str] = []
    for name in set(names):  # ABI wrappers have the name of what they wrap
        plain = _plain(name)
        if plain == wanted or plain.endswith((tail, "/" + wanted)):
            ends.append(name)
        bases.setdefault(plain[plain.rfind(".") + 1 :], []).append(name)
    if ends:
        return sorted(ends, key=lambda name: (len(name), name))[:limit]
    base = wanted[wanted.rfind(".") + 1 :]
    close = (
        difflib.get_close_matches(base, _about_as_long(base, bases), n=8, cutoff=0.75)
        if len(base) > 2
        else []
    )
    whole = difflib.SequenceMatcher(b=wanted)
    scored: list[tuple[float, str]] = []
    for similar in close:
        for name in bases[similar][:200]:
            whole.set_seq1(_plain(name))
            scored.append((-whole.ratio(), name))
    scored.sort()
    return [name for _, name in scored[:limit]]


def _about_as_long(base: str, bases: Iterable[str]) -> list[str]:
    """Candidates for difflib, which costs some 20 us each: of like length, sharing most of their letters."""
    letters = set(base)
    reach = max(1, len(base) // 4)
    return [
        other
        for other in bases
        if abs(len(other) - len(base)) <= reach and 2 * len(letters.intersection(other)) > len(letters)
    ]


_PLAIN: Final = str.maketrans("", "", "()*?")


def _plain(name: str) -> str:
    return name.translate(_PLAIN).lower().strip(".")


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
