"""What is said while something is recorded, and when it is done."""

from __future__ import annotations

import pytest

from undergo.views.recording import Recorded, bytes_text, clock, done, progress


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 KB"), (9_994, "9.99 KB"), (9_995, "10.0 KB"), (99_949, "99.9 KB"),
        (99_950, "100 KB"), (999_499, "999 KB"), (999_500, "1.00 MB"), (2**31, "2.15 GB"), (5 * 10**15, "5000 TB"),
    ],
)  # fmt: skip
def test_bytes(count: int, text: str) -> None:
    assert text == bytes_text(count)


def test_a_clock() -> None:
    assert ["0:00", "0:59", "12:34", "1:02:03"] == [clock(int(s * 10**9)) for s in (0.9, 59, 754, 3723)]


def test_progress_names_losses_only_if_there_are_any() -> None:
    assert "0:07  1,234 events · 500/s · 1.20 MB" == progress(
        7 * 10**9, Recorded(1000, 200, 34), 500.4, 0, 1_200_000
    )
    assert progress(0, Recorded(), 0, 5, 0).endswith(" · 5 lost")
    assert progress(0, Recorded(), 0, 0, 0, writing="run.undergo").endswith(" · writing run.undergo")


def test_done() -> None:
    """What there is none of because it was not asked for is not told; names cannot act on the terminal."""
    assert ["a.undergo: 1 call of 2 functions in 2.50 s · 10 B", "  undergo report a.undergo"] == done(
        "a.undergo", Recorded(1), 2, 2_500_000_000, 10
    )
    first, caveat, _ = done("\x1b[2J", Recorded(5, 1, 2), 1, 10**9, 10, ["short"])
    assert r"\x1b[2J: 5 calls of 1 function, 1 state change, 2 births in 1.00 s · 10 B" == first
    assert "  short" == caveat
