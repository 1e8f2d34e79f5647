"""Filter expressions: Go's precedence, values, and a caret under every mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undergo.errors import UsageError
from undergo.plan.filter_expression import (
    Both,
    Comparison,
    Expression,
    Not,
    Path,
    label_is,
    parse,
    parse_path,
)


def shown(of: Expression) -> str:
    """With all parentheses."""
    if isinstance(of, Both):
        return f"({shown(of.left)} {'&&' if of.all else '||'} {shown(of.right)})"
    if isinstance(of, Not):
        return f"!{shown(of.of)}"
    return f"{of.path} {of.op} {of.value!r}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n > 10", "n > 10"),
        ("n>=-0x1F", "n >= -31"),
        ("a == 1 && b == 2 || c == 3", "((a == 1 && b == 2) || c == 3)"),
        ("a == 1 || b == 2 && c == 3", "(a == 1 || (b == 2 && c == 3))"),
        ("a == 1 && (b == 2 || c == 3)", "(a == 1 && (b == 2 || c == 3))"),
        ("!(a == 1) && !b", "(!a == 1 && !b == True)"),
        ("ok", "ok == True"),
        ("ok != false", "ok != False"),
        ("req.URL.Path == `/x\\`", "req.URL.Path == '/x\\\\'"),
        (r's == "a\"b\n"', "s == 'a\"b\\n'"),
        ('hasPrefix(a.b, "x")', "a.b prefix 'x'"),
        ("len(a.b) == 3", "len(a.b) == 3"),
        ("len == 3 && hasPrefix == 2", "(len == 3 && hasPrefix == 2)"),
        ("wall > 1.5ms", "wall > 1500000"),
        ("wall > 2h", "wall > 7200000000000"),
        ("x < -1.5", "x < -1.5"),
        ("err != nil", "err != None"),
        ("größe == 1_000", "größe == 1000"),
    ],
)
def test_what_an_expression_means(text: str, expected: str) -> None:
    """Precedence is Go's, and so are numbers and texts; durations are ns."""
    assert expected == shown(parse(text))


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 0, "name of a parameter"),
        ("n >", 3, "a value is expected"),
        ("n > 1 m", 6, "&& or ||"),
        ("n + 1", 2, "means nothing"),
        ("(n > 1", 6, "')' is expected"),
        ("n > 1)", 5, "&& or ||"),
        ("n = 1", 2, "means nothing"),
        ("n. == 1", 3, "a name is expected"),
        ("3 > n", 0, "name of a parameter"),
        ('s == "x', 5, "has no end"),
        ("hasPrefix(s, 3)", 13, "text in quotes"),
        ("n ! 3", 2, "a comparison is expected"),
        (r's == "\xq"', 5, "escape"),
        (r's == "\ud800"', 5, "escape"),
        (r's == "\U00110000"', 5, "escape"),
        (r's == "\400"', 5, "escape"),
        (r's == "\N{DASH}"', 5, "escape"),
        ("n > " + "9" * 5000, 4, "too large"),
        ("n > " + "9" * 299 + "h", 4, "too large"),
        ("!" * 60 + "n", 50, "too deeply"),
    ],
)
def test_mistakes(text: str, column: int, words: str) -> None:
    """The message says what is expected, the hint shows where."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert words in caught.value.message
    line, caret = caught.value.hint.split("\n")
    assert (text, column) == (line, caret.index("^"))


def test_escapes_are_those_of_go() -> None:
    r"""`\xff` is a byte, not a character; bytes that are no UTF-8 are kept."""
    found = parse(r's == "\xff\303\251\u00e9\U0001f600\a\v\"\\é" && t == `\x`')
    assert (
        isinstance(found, Both) and isinstance(found.left, Comparison) and isinstance(found.right, Comparison)
    )
    assert '\udcffé\u00e9\U0001f600\a\v"\\é' == found.left.value
    assert r"\x" == found.right.value


@given(st.text(alphabet='n s.len()!&|=<>0123456789"`\\xms hasPrefix,-é\n', max_size=40))
def test_any_text_is_an_expression_or_a_usage_error(text: str) -> None:
    """Nothing else is raised, whatever it is."""
    try:
        parse(text)
    except UsageError as error:
        assert error.message.startswith("--filter: ")


def test_paths() -> None:
    """Names joined by dots; all else has a caret."""
    assert Path(("req", "URL", "Path"), 0) == parse_path("req.URL.Path", "--by")
    for text, column in (
        ("", 0),
        ("a..b", 2),
        ("a.b()", 3),
        ("a b", 2),
        ("label()", 6),
        ("label(x)", 6),
        ('label("x"', 9),
    ):
        with pytest.raises(UsageError) as caught:
            parse_path(text, "--by")
        assert column == caught.value.hint.split("\n")[1].index("^")


def test_labels() -> None:
    """By their names, in expressions as in paths; a parameter may still be called label."""
    assert Path((), 0, label="a b") == parse_path('label("a b")', "--by")
    assert Path(("label", "x"), 0) == parse_path("label.x", "--by")
    assert Comparison(Path((), 0, label="t"), "==", "a=b", 2) == label_is("t=a=b")
    found = parse('label("t") != "x" && hasPrefix(label("u"), "y")')
    assert (
        isinstance(found, Both) and isinstance(found.left, Comparison) and isinstance(found.right, Comparison)
    )
    assert ("t", "u", "prefix") == (found.left.path.label, found.right.path.label, found.right.op)


def test_a_comparison_knows_where_it_stands() -> None:
    """For the caret of what comes to light later."""
    found = parse("  n.x > 10")
    assert isinstance(found, Comparison)
    assert (2, 8) == (found.path.at, found.at)
