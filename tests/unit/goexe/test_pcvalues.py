"""Tables of values by pc."""

from __future__ import annotations

from itertools import pairwise

import pytest
from goimage import pc_table
from hypothesis import given
from hypothesis import strategies as st

from undergo.errors import TruncatedError
from undergo.goexe.pcvalues import decode, first_value


def test_the_first_delta_may_be_zero() -> None:
    """A table that starts with -1 begins with a delta of 0, which ends nothing."""
    assert decode(pc_table(((4, -1), (8, 5)), 1), 0, 100, 112, 1) == [(100, 104, -1), (104, 112, 5)]


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(-1, 100_000)), min_size=1).filter(
        lambda pairs: all(a[1] != b[1] for a, b in pairwise(pairs))
    ),
    st.sampled_from([1, 4]),
)
def test_encoding_and_decoding_agree(pairs: list[tuple[int, int]], quantum: int) -> None:
    """What is encoded as the linker does comes back, and the first value without decoding the rest."""
    data = b"before" + pc_table(tuple((size * quantum, value) for size, value in pairs), quantum)
    end = sum(size for size, _ in pairs) * quantum
    ranges = decode(data, 6, 0, end, quantum)
    assert [(last - first, value) for first, last, value in ranges] == [(s * quantum, v) for s, v in pairs]
    assert first_value(data, 6) == pairs[0][1]


def test_a_table_past_its_function_is_refused() -> None:
    """Code beyond the next function's entry cannot belong to the function."""
    with pytest.raises(TruncatedError, match="past its function's end"):
        decode(pc_table(((40, 0),), 1), 0, 0, 32, 1)


@pytest.mark.parametrize("data", [b"", b"\x02", b"\x02\x04", b"\x80" * 20, b"\x02" + b"\x80" * 20])
def test_a_torn_table_is_refused(data: bytes) -> None:
    """A table that ends before its terminator, or a number that never ends, is an error, not a hang."""
    with pytest.raises(TruncatedError):
        decode(data, 0, 0, 1 << 40, 1)
