"""Colour is decided in one place, durations are exact and aligned, foreign text cannot reach the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undergo.views.style import COLOUR, PLAIN, Palette, cells, compact, duration, escape, palette, shorten


@pytest.mark.parametrize(
    ("choice", "isatty", "environment", "expected"),
    [
        ("auto", True, {}, COLOUR),
        ("auto", False, {}, PLAIN),
        ("auto", True, {"TERM": "dumb"}, PLAIN),
        ("auto", True, {"NO_COLOR": "1"}, PLAIN),
        ("auto", True, {"NO_COLOR": ""}, COLOUR),
        ("auto", False, {"FORCE_COLOR": "1"}, COLOUR),
        ("auto", True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, PLAIN),
        ("always", False, {"NO_COLOR": "1"}, COLOUR),
        ("never", True, {"FORCE_COLOR": "1"}, PLAIN),
    ],
)
def test_palette(choice: str, isatty: bool, environment: dict[str, str], expected: Palette) -> None:
    """The option wins over the variables, NO_COLOR over FORCE_COLOR, both over the terminal."""
    assert expected == palette(choice, isatty, environment)


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "      0 ns"),
        (999, "    999 ns"),
        (1_000, "  1.000 us"),
        (999_999, "999.999 us"),
        (1_000_000, "  1.000 ms"),
        (999_999_999, "999.999 ms"),
        (1_000_000_000, "  1.000 s "),
        (999_999_999_999, "999.999 s "),
        (1_234_567_890_123, "1234.56 s "),
        (12_345_678_901_234, "12345.6 s "),
        (1_234_567_890_123_456, "1234567 s "),
    ],
)
def test_duration(ns: int, expected: str) -> None:
    """A duration takes ten columns and is cut, not rounded up."""
    assert expected == duration(ns)


@pytest.mark.parametrize(
    ("ns", "expected"),
    [(0, "0 ns"), (999, "999 ns"), (1_000, "1.00 us"), (9_996, "10.0 us"), (99_960, "100 us"), (999_499, "999 us"),
     (999_500, "1.00 ms"), (999_500_000, "1.00 s"), (12_345_678_901, "12.3 s")],
)  # fmt: skip
def test_compact(ns: int, expected: str) -> None:
    """Three digits, and the next unit where rounding reaches it."""
    assert expected == compact(ns)


def test_escape() -> None:
    """Controls, direction overrides and invalid UTF-8 become visible; letters of any language stay."""
    assert "main.größe世" == escape("main.größe世")
    assert "a\\x1b[2Jb" == escape("a\x1b[2Jb")
    assert "\\u202e\\x9b\\udc80\\n" == escape("\u202e\x9b\udc80\n")


@given(st.text())
def test_escape_leaves_nothing_unprintable(text: str) -> None:
    """Whatever comes in, what goes out is printable."""
    assert escape(text).isprintable()


def test_cells() -> None:
    """Wide characters take two columns, combining marks none."""
    assert [4, 4, 1] == [cells("main"), cells("世界"), cells("e\u0301")]


def test_shorten_keeps_what_follows_the_last_slash() -> None:
    """The package path gives way first."""
    names = ["github.com/a/b/storage.(*Cache).Get", "main.f"]
    assert ["g…/storage.(*Cache).Get", "main.f"] == shorten(names, 23)


@given(st.lists(st.text("ab/.世", max_size=12), unique=True, max_size=12), st.integers(3, 8))
def test_shorten_is_never_ambiguous(names: list[str], width: int) -> None:
    """Different names stay different; each fits or is whole."""
    short = shorten(names, width)
    assert len(names) == len(set(short))
    assert all(cells(cut) <= width or cut == name for name, cut in zip(names, short, strict=True))
