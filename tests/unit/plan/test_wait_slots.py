"""Wait reasons of several Go versions in common slots, with an end to their number."""

from __future__ import annotations

import pytest

from undergo.goexe.wait_reasons import COLLECTION, MOST, PREEMPTED, wait_reasons
from undergo.plan.wait_slots import CLOCK_SLOTS, OTHER, SLOTS, wait_slots

VERSIONS = [(1, minor) for minor in range(17, 28)]


def test_likely_reasons_come_first_and_the_rest_as_the_table_has_it() -> None:
    """A version's own order counts only for what is not among the likeliest."""
    found = wait_slots([("", "trace reader (blocked)", "sleep", "dumping heap", "chan receive")])
    assert (
        "chan receive",
        "sleep",
        COLLECTION,
        PREEMPTED,
        "trace reader (blocked)",
        "dumping heap",
        OTHER,
    ) == found.names
    assert ((6, 4, 1, 5, 0),) == found.rows


def test_one_reason_has_one_slot_whatever_its_number() -> None:
    """Executables that number a reason differently share its slot; what only one has gets a slot too."""
    found = wait_slots([("", "sleep", "old only"), ("", "new only", "x", "sleep")])
    assert [row.index(found.names.index("sleep")) for row in found.rows] == [1, 3]
    assert {"old only", "new only", "x"} < set(found.names)
    assert len(found.names) == len(set(found.names))
    assert ("sleep", COLLECTION, PREEMPTED, "old only", "new only", "x", OTHER) == found.names


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"1.{version[1]}")
def test_every_number_of_a_version_leads_to_its_own_name(version: tuple[int, int]) -> None:
    """With all versions together in one session, none of their reasons is lost or taken for another."""
    together = wait_slots(map(wait_reasons, VERSIONS))
    row = together.rows[VERSIONS.index(version)]
    assert MOST == len(row)
    for reason, slot in zip(wait_reasons(version), row, strict=True):
        known = reason and not reason.startswith("reason ")
        assert (reason if known else OTHER) == together.names[slot]


def test_numbers_without_a_name_are_other() -> None:
    """No reason given, and numbers of a version that is not known, get no slots of their own."""
    found = wait_slots([wait_reasons((1, 99))])
    assert (COLLECTION, PREEMPTED, OTHER) == found.names
    assert ((2,) * MOST,) == found.rows


@pytest.mark.parametrize("tables", [[], [("", "select")], [("preempted", "garbage collection")]])
def test_the_collector_s_slots_are_always_there(tables: list[tuple[str, ...]]) -> None:
    """Stale and preempted waits have names, also where no version of the session has these reasons."""
    found = wait_slots(tables)
    assert (COLLECTION, PREEMPTED) == (found.names[found.stale], found.names[found.preempted])
    assert found.stale != found.preempted


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"1.{version[1]}")
def test_clocks_tell_24_apart(version: tuple[int, int]) -> None:
    """Slots below the last one have the same name in clocks; the last of 24 takes all the others."""
    found = wait_slots([wait_reasons(version)])
    assert len(found.names) > CLOCK_SLOTS
    assert 24 == CLOCK_SLOTS == len(found.in_clocks)
    assert found.names[:23] == found.in_clocks[:23]
    assert OTHER == found.in_clocks[-1] != found.names[23]
    assert max(found.stale, found.preempted) < 23
    assert {"chan receive", "chan send", "select", "sleep", "IO wait", "semacquire"} <= set(found.in_clocks)


def test_few_reasons_leave_slots_of_clocks_unused() -> None:
    """Every slot that a row names has the same name in clocks, and the last is still for others."""
    found = wait_slots([("", "sleep")])
    assert ("sleep", COLLECTION, PREEMPTED, OTHER) == found.names == found.in_clocks[:4]
    assert OTHER == found.in_clocks[-1]


@pytest.mark.parametrize("many", [60, 61, 62, 200])
def test_names_past_64_are_other(many: int) -> None:
    """63 reasons get slots, first come first served; the rest shares the last slot."""
    table = ("", *(f"made up {number}" for number in range(many)))
    found = wait_slots([table, ("made up 0", "came later", "sleep")])
    # three of the likeliest come first, and one slot is for others
    own = min(many, SLOTS - 4)
    assert 64 == SLOTS == len(found.names)
    assert OTHER == found.names[-1]
    assert ("sleep", COLLECTION, PREEMPTED) == found.names[:3]
    assert found.names[3 : 3 + own] == table[1 : 1 + own]
    last = SLOTS - 1
    assert (last, *range(3, 3 + own), *[last] * (many - own)) == found.rows[0]
    assert (3, last, 0) == found.rows[1]


def test_exactly_64_fit() -> None:
    """A name more than that, and only then, is left out."""
    made_up = tuple(f"made up {number}" for number in range(61))
    assert made_up == wait_slots([made_up]).names[2:-1]
    assert (*range(2, 63),) == wait_slots([made_up]).rows[0]
    assert (*range(2, 63), 63) == wait_slots([(*made_up, "one more")]).rows[0]
