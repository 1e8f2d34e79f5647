"""Patterns: globs over full names, regular expressions, and what is said if nothing matches."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from undergo.errors import UsageError
from undergo.plan.patterns import _about_as_long, compile_pattern, near_misses, nothing_matches

NAMES = [
    "main.main",
    "main.main.func1",
    "main.(*shop).Order",
    "main.Map[...]",
    "net/http.(*conn).serve",
    "net/http.HandlerFunc.ServeHTTP",
    "sync.(*Mutex).Lock",
    "internal/sync.(*Mutex).Lock",
    "runtime.casgstatus",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("main.main", ["main.main"]),
        ("main.*", NAMES[:4]),
        ("*.(*Mutex).Lock", NAMES[6:8]),
        ("net/http.(*conn).serve", ["net/http.(*conn).serve"]),
        ("main.Map[...]", ["main.Map[...]"]),
        ("main.mai?", ["main.main"]),
        ("*", NAMES),
        ("**", NAMES),
        ("net*serve", ["net/http.(*conn).serve"]),
        ("net*", NAMES[4:6]),
        ("main.main*main", []),
        ("/Mutex/", NAMES[6:8]),
        (r"/^main\.main$/", ["main.main"]),
        ("/conn.*serve|casg/", ["net/http.(*conn).serve", "runtime.casgstatus"]),
    ],
)
def test_matches(pattern: str, expected: list[str]) -> None:
    """What a pattern selects of a list of names."""
    assert expected == [name for name in NAMES if compile_pattern(pattern).matches(name)]


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [("main.main", True), ("net/http.(*conn).serve", True), ("main.Map[...]", True), ("main.*", False)]
    + [("*.(*Mutex).Lock", False), ("main.(*", False), ("/main/", False)],
)
def test_literal(pattern: str, literal: bool) -> None:
    """A pointer receiver's star does not keep a pattern from being a name."""
    assert literal == compile_pattern(pattern).literal


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "empty"),
        ("/", "ends with /"),
        ("/main", "ends with /"),
        ("//", "ends with /"),
        ("/(/", "unterminated subpattern"),
        ("/a{99999999999}/", "not a regular expression"),
    ],
)
def test_bad_patterns(pattern: str, words: str) -> None:
    """A pattern that cannot be is a usage error that gives the reason and a hint."""
    with pytest.raises(UsageError) as caught:
        compile_pattern(pattern)
    assert words in caught.value.message
    assert caught.value.hint


def test_many_stars_do_not_hang() -> None:
    """A glob never backtracks over a name."""
    code = (
        "from undergo.plan.patterns import compile_pattern\n"
        "print(compile_pattern('*' + 'a*' * 40 + 'b').matches('a' * 2000))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "None\n" == done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("conn.serve", "net/http.(*conn).serve"),
        ("http.(*conn).serve", "net/http.(*conn).serve"),
        ("net/http.conn.Serve", "net/http.(*conn).serve"),
        ("Main.Main", "main.main"),
        ("main.mian", "main.main"),
        ("net/http.(*conn).serv", "net/http.(*conn).serve"),
        ("Mutex.Lock", "sync.(*Mutex).Lock"),
        ("casgstatu", "runtime.casgstatus"),
    ],
)
def test_near_misses(typed: str, expected: str) -> None:
    """The name that was meant comes first."""
    assert expected == near_misses(typed, NAMES)[0]


def test_near_misses_of_nonsense() -> None:
    """Nothing is offered where nothing is near."""
    assert [] == near_misses("zzzzzzzz", NAMES)
    assert [] == near_misses("***", NAMES)


def test_inlined_names_are_near_misses_too() -> None:
    """If only inlined functions are near, that is said."""
    error = nothing_matches(compile_pattern("main.adder"), ["runtime.x"], ["main.added"])
    assert "did you mean main.added (inlined everywhere)?" == error.hint


def test_near_misses_compare_few_names_letter_by_letter() -> None:
    """That costs 20 us each: of 60,000 names most are out of question at a glance."""
    words = "get set handle read write serve conn buf parse load store mutex lock range fetch user item order".split()
    names = {"".join(some) for count in (1, 2, 3) for some in itertools.product(words, repeat=count)}
    compared = _about_as_long("getusr", names)
    assert "getuser" in compared
    assert len(compared) < len(names) / 10
