"""Captures are kept until their calls are shown, as far as there is room."""

from __future__ import annotations

from tests.unit.events.test_values import INT, TYPES, decoder, record
from undergo.views.call_values import _OBJECT, CallValues


def of(call: int, value: int, at_exit: bool = False) -> bytes:
    """A capture of one int."""
    return call.to_bytes(8, "little") + record([], (value,), at_exit)[8:]


def test_the_oldest_is_given_up_where_there_is_no_room() -> None:
    """It is called lost then; what was shown and forgotten takes no room."""
    each = len(of(1, 0)) + _OBJECT
    values = CallValues(decoder([INT], [INT]), {7: TYPES}, frozenset({7}), frozenset({7}), most=3 * each)
    values.feed([of(1, 10), of(1, 11, at_exit=True), of(2, 20)])
    assert ("p0=10", " → 11") == (values.arguments(1, 7, 0), values.results(1, 7, "return", 0))
    values.feed([of(3, 30)])
    assert ("<lost>", " → 11") == (values.arguments(1, 7, 0), values.results(1, 7, "return", 0))
    values.forget(1)
    values.feed([of(4, 40)])
    assert ["p0=20", "p0=30", "p0=40"] == [values.arguments(call, 7, 0) for call in (2, 3, 4)]
    assert {"args": [{"name": "p0", "type": "int", "value": 20}], "results": None} == values.members(2, 7)
    values.feed([of(5, 50)])
    assert ["<lost>", "p0=30"] == [values.arguments(call, 7, 0) for call in (2, 3)]
