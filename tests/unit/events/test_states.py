"""Records of goroutines become changes and births; stays add up, and the longest are found."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undergo.events.calls import Latency
from undergo.events.states import (
    NUMBERS,
    STATUSES,
    SUMMED,
    Birth,
    Longest,
    Longests,
    StateChange,
    StateDecoder,
    Stays,
    stays,
)
from undergo.goexe.function import Source
from undergo.kernel.btf import Btf
from undergo.kernel.program import object_bytes

HEADER = Path(__file__).parents[3] / "src/undergo/bpf/undergo.h"
BTF = Btf(object_bytes())
RECORD, STATE = BTF.dtype("state_record"), BTF.dtype("state")
REASONS = ("sleep", "select", "garbage collection", "preempted", "other")
CHANGED, BORN, ENDED = 4, 5, 6  # enum record_kind
KNOWN = 1  # enum state_flag
NO_SLOT = 63  # where the kernel knows no wait, or cannot read its reason
OFFSET = 1_000_000
DEAD, RUNNABLE, RUNNING, WAITING = (NUMBERS[name] for name in ("dead", "runnable", "running", "waiting"))


def nowhere(executable: int, site: int, distance: int) -> Source | None:
    """No place is known."""
    return None


def decoder() -> StateDecoder:
    """One that knows no places."""
    return StateDecoder(OFFSET, REASONS, RECORD, nowhere)


def record(kind: int = CHANGED, **fields: object) -> np.void:
    """A record with all else 0; `before` and `after` stand for its fields from and to."""
    row = np.zeros(1, RECORD)[0]
    row["kind"] = kind
    for name, value in fields.items():
        row[{"before": "from", "after": "to"}.get(name, name)] = value
    return row


def change(**fields: object) -> StateChange:
    """The only change that a record becomes."""
    (found,) = decoder().feed(np.array([record(**fields)]))
    assert isinstance(found, StateChange)
    return found


def defines(name: str) -> dict[str, int]:
    """The constants of an enum of bpf/undergo.h."""
    body = re.search(rf"^enum {name} {{(.*?)^}};", HEADER.read_text(), re.DOTALL | re.MULTILINE)
    assert body is not None
    return {word: int(number, 0) for word, number in re.findall(r"(\w+) = (\w+)", body[1])}


def test_states_are_named_as_the_kernel_side_numbers_them() -> None:
    """Both lists have the same numbers; two kinds of dead share a name, which as a number is the usual one."""
    numbers = {
        name.removeprefix("GO_").lower(): number
        for name, number in defines("go_status").items()
        if name != "GO_SCAN"
    }
    assert {number: "dead" if name == "deadextra" else name for name, number in numbers.items()} == STATUSES
    assert {name: number for name, number in numbers.items() if name != "deadextra"} == NUMBERS
    assert list(SUMMED) == [
        STATUSES[numbers["runnable"] + column] for column in range(STATE["longest"].shape[0])
    ]
    kinds = defines("record_kind")
    assert (CHANGED, BORN, ENDED) == tuple(
        kinds[name] for name in ("STATE_CHANGED", "GOROUTINE_BORN", "GOROUTINE_ENDED")
    )


def test_the_end_of_a_wait() -> None:
    """It has the reason of the wait that ended, how long that was and who ended it; the time is since the epoch."""
    found = change(
        time=500, tgid=10, tid=11, goid=12, before=WAITING, after=RUNNABLE,
        from_slot=1, to_slot=2, other=7, spent=40, flags=KNOWN, born=100,
    )  # fmt: skip
    assert StateChange(1_000_500, 10, 11, 12, "waiting", "runnable", "select", 7, 40, None) == found


def test_the_beginning_of_a_wait() -> None:
    """It has the reason of the wait that begins; nobody is said to have woken it."""
    found = change(time=500, before=RUNNING, after=WAITING, from_slot=1, to_slot=2, spent=40, flags=KNOWN)
    assert StateChange(1_000_500, 0, 0, 0, "running", "waiting", "garbage collection", 0, 40, None) == found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pair
        for pair in product(("runnable", "running", "syscall", "preempted", "dead"), repeat=2)
        if pair[0] != pair[1]
    ],
)
def test_a_change_between_other_states_has_no_reason(before: str, after: str) -> None:
    """Slots that the kernel left in the record are not read."""
    found = change(before=NUMBERS[before], after=NUMBERS[after], from_slot=1, to_slot=2, flags=KNOWN)
    assert (before, after, "") == (found.before, found.after, found.reason)


def test_a_wait_from_before_the_trace() -> None:
    """Neither its reason nor its length is known, whatever the slot; who ended it is."""
    for slot in (0, 1, NO_SLOT):
        found = change(before=WAITING, after=RUNNABLE, from_slot=slot, other=7)
        assert ("waiting", "", 7, None) == (found.before, found.reason, found.waker, found.spent_ns)


def test_no_time_in_a_state_is_a_known_time() -> None:
    """0 ns is something else than not known."""
    assert 0 == change(before=RUNNING, after=RUNNABLE, spent=0, flags=KNOWN).spent_ns
    assert change(before=RUNNING, after=RUNNABLE, spent=5).spent_ns is None


def test_a_reason_that_could_not_be_read_is_other() -> None:
    """The kernel's last slot is the last name, however few there are."""
    assert "other" == change(before=RUNNING, after=WAITING, to_slot=NO_SLOT).reason
    ended = change(before=WAITING, after=RUNNABLE, from_slot=NO_SLOT, flags=KNOWN)
    assert "other" == ended.reason


def test_statuses_without_a_name_are_numbers() -> None:
    """What a later Go may add is shown as it is."""
    found = change(before=5, after=12, flags=KNOWN)
    assert ("5", "12", "") == (found.before, found.after, found.reason)


@pytest.mark.parametrize("after", [6, 11])
def test_a_lifetime_is_told_at_death(after: int) -> None:
    """From birth to either kind of death, and only if the birth was seen."""
    assert 400 == change(time=500, before=RUNNING, after=after, born=100).lifetime_ns
    assert "dead" == change(before=RUNNING, after=after).after
    assert change(time=500, before=RUNNING, after=after, born=0).lifetime_ns is None
    assert change(time=500, before=RUNNING, after=RUNNABLE, born=100).lifetime_ns is None


def test_a_birth_and_its_places() -> None:
    """The go statement is looked up within its call, before the address it returns to; the start as it is."""
    asked = []

    def source(executable: int, site: int, distance: int) -> Source:
        asked.append((executable, site, distance))
        return Source("main.f", "main.go", distance)

    row = record(
        BORN, time=500, tgid=10, tid=11, goid=12, before=DEAD, after=RUNNABLE,
        other=7, born=500, site=2, executable=3, go_pc=-1000, start_pc=2000,
    )  # fmt: skip
    found = StateDecoder(OFFSET, REASONS, RECORD, source).feed(np.array([row]))
    places = Source("main.f", "main.go", -1001), Source("main.f", "main.go", 2000)
    assert [Birth(1_000_500, 10, 11, 12, 7, *places)] == found
    assert [(3, 2, -1001), (3, 2, 2000)] == asked


def test_a_birth_without_places_or_parent() -> None:
    """The runtime's own goroutines have a parent of 0, and addresses outside Go's code no place."""
    (found,) = decoder().feed(np.array([record(BORN, goid=12)]))
    assert Birth(OFFSET, 0, 0, 12, 0, None, None) == found


def test_a_batch_is_put_in_order() -> None:
    """Processors deliver late; what happened at the same time stays as it came."""
    rows = [
        record(time=30, goid=1),
        record(BORN, time=10, goid=2),
        record(time=20, goid=3),
        record(time=20, goid=4),
    ]
    assert [2, 3, 4, 1] == [found.goid for found in decoder().feed(np.array(rows))]


def test_a_life_and_the_next_one_at_the_same_g() -> None:
    """A g that is used again has a new goid: a whole life of its own, with nothing left of the one before."""
    rows = []
    for goid, at in ((5, 100), (6, 200)):
        rows += [
            record(BORN, time=at, goid=goid, before=DEAD, after=RUNNABLE, born=at, other=1),
            record(time=at + 1, goid=goid, before=RUNNABLE, after=RUNNING, spent=1, flags=KNOWN, born=at),
            record(time=at + 9, goid=goid, before=RUNNING, after=DEAD, spent=8, flags=KNOWN, born=at),
        ]
    found = decoder().feed(np.array(rows))
    for goid, life in ((5, found[:3]), (6, found[3:])):
        assert [goid] * 3 == [row.goid for row in life]
        born, ran, died = life
        assert isinstance(born, Birth) and isinstance(ran, StateChange) and isinstance(died, StateChange)
        assert (1, None) == (ran.spent_ns, ran.lifetime_ns)
        assert (8, 9) == (died.spent_ns, died.lifetime_ns)


def test_records_of_a_summary_are_no_changes() -> None:
    """GOROUTINE_ENDED is for the longest stays only, and an empty batch is nothing."""
    assert [] == decoder().feed(np.array([record(ENDED, goid=1)]))
    assert [] == decoder().feed(np.zeros(0, RECORD))


def test_records_come_as_the_ring_has_them() -> None:
    """The ring reads all records as calls; those of states are of the same size."""
    rows = np.array([record(goid=12, before=RUNNABLE, after=RUNNING, flags=KNOWN, spent=3)])
    (found,) = decoder().feed(rows.view(BTF.dtype("call_record")))
    assert isinstance(found, StateChange)
    assert (12, "running", 3) == (found.goid, found.after, found.spent_ns)


def longests() -> Longests:
    """Empty."""
    return Longests(REASONS, RECORD)


def ended(goid: int, longest: list[int], pid: int = 1, slot: int = 0) -> np.void:
    """The record of a goroutine that ended."""
    return record(ENDED, goid=goid, tgid=pid, longest=longest, from_slot=slot)


def living(goid: int, status: int, since: int, longest: list[int], slot: int = 0, past: int = 0) -> np.void:
    """The record of a goroutine that lives: `slot` is of the wait it is in, `past` of its longest one."""
    row = np.zeros(1, STATE)[0]
    row["goid"], row["status"], row["since"], row["longest"] = goid, status, since, longest
    row["slot"], row["longest_slot"] = slot, past
    return row


def test_the_longest_stays_of_those_that_ended() -> None:
    """Each state has its own, with the reason where it is a wait; nothing is said of states never stayed in."""
    found = longests()
    found.feed(np.array([ended(1, [10, 20, 0, 30], slot=1), ended(2, [11, 0, 0, 29])]))
    assert [Longest(11, 2, 1, "", False), Longest(10, 1, 1, "", False)] == found.of("runnable")
    assert [Longest(20, 1, 1, "", False)] == found.of("running")
    assert [] == found.of("syscall")
    assert [Longest(30, 1, 1, "select", False), Longest(29, 2, 1, "sleep", False)] == found.of("waiting")


def test_deaths_are_counted_and_changes_are_not() -> None:
    """Over all batches, of one kind of record."""
    found = longests()
    found.feed(np.array([ended(1, [1, 1, 1, 1]), record(goid=2, longest=[9, 9, 9, 9]), record(BORN, goid=3)]))
    found.feed(np.zeros(0, RECORD))
    found.feed(np.array([record(goid=2)]))
    found.feed(np.array([ended(4, [2, 2, 2, 2])]))
    assert 2 == found.deaths
    assert [4, 1] == [one.goid for one in found.of("running")]


def test_those_left_count_with_what_they_are_in() -> None:
    """A stay that has not ended is as long as it is now, and is said to go on."""
    found = longests()
    found.left([(7, living(1, WAITING, 100, [0, 5, 0, 300], slot=1, past=2))], now=1000)
    assert [Longest(900, 1, 7, "select", True)] == found.of("waiting")
    assert [Longest(5, 1, 7, "", False)] == found.of("running")
    found = longests()
    found.left([(7, living(1, WAITING, 900, [0, 5, 0, 300], slot=1, past=2))], now=1000)
    assert [Longest(300, 1, 7, "garbage collection", False)] == found.of("waiting")


@pytest.mark.parametrize("status", [DEAD, NUMBERS["preempted"], 5])
def test_what_is_left_in_no_summed_state(status: int) -> None:
    """Its stays of before still count."""
    found = longests()
    found.left([(7, living(1, status, 100, [3, 0, 0, 0]))], now=1000)
    assert [[Longest(3, 1, 7, "", False)], [], [], []] == [found.of(state) for state in SUMMED]


def test_a_stay_that_began_after_the_end_is_none() -> None:
    """A change between reading the clock and taking the probes out makes no negative time."""
    found = longests()
    found.left([(7, living(1, RUNNING, 1001, [0, 0, 0, 0]))], now=1000)
    assert [] == found.of("running")


def test_a_longest_wait_whose_reason_could_not_be_read() -> None:
    """It is shown as other, dead or alive."""
    found = longests()
    found.feed(np.array([ended(1, [0, 0, 0, 30], slot=NO_SLOT)]))
    found.left([(1, living(2, WAITING, 0, [0, 0, 0, 0], slot=NO_SLOT))], now=20)
    assert ["other", "other"] == [one.reason for one in found.of("waiting")]


def test_a_goroutine_is_named_once() -> None:
    """By its longest stay, though it has several; goids of another process are other goroutines."""
    found = longests()
    found.feed(np.array([ended(1, [0, 10, 0, 0]), ended(1, [0, 30, 0, 0]), ended(1, [0, 20, 0, 0], pid=2)]))
    found.left([(2, living(1, RUNNING, 0, [0, 25, 0, 0]))], now=15)
    assert [Longest(30, 1, 1, "", False), Longest(25, 1, 2, "", False)] == found.of("running")


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=20), max_size=6), st.lists(st.integers(0, 50), max_size=12)
)
def test_the_longest_five_are_found_in_any_batches(batches: list[list[int]], left: list[int]) -> None:
    """However the goroutines come, those of the five longest stays are the same."""
    found, times = longests(), {}
    for batch in batches:
        rows = []
        for ns in batch:
            times[len(times) + 1] = ns
            rows.append(ended(len(times), [0, ns, 0, 0]))
        found.feed(np.array(rows, RECORD))
    states = []
    for ns in left:
        times[len(times) + 1] = ns + 1
        states.append((1, living(len(times), RUNNING, 99 - ns, [0, ns, 0, 0])))
    found.left(states, now=100)
    best = found.of("running")
    assert sorted(filter(None, times.values()), reverse=True)[:5] == [one.ns for one in best]
    assert all(times[one.goid] == one.ns for one in best)
    assert len(best) == len({one.goid for one in best})


def row(pid: int, func: int, calls: int, total: int) -> Latency:
    """A row of the kernel's table."""
    return Latency(pid, func, calls, 0, 0, total, 1, 5, 2, 3, 4, ())


def test_stays_by_state_and_reason() -> None:
    """A row is a state, a wait reason or births; p50, p99 and the longest go along."""
    rows = defines("state_row")
    found, born = stays([row(1, WAITING, 3, 90), row(1, rows["STATE_WAITS"] + 1, 3, 90)], REASONS)
    assert [Stays(1, "waiting", "", 3, 90, 2, 4, 5), Stays(1, "waiting", "select", 3, 90, 2, 4, 5)] == found
    assert 0 == born
    births = [row(pid, rows["STATE_BIRTHS"], pid, 0) for pid in (1, 2)]
    assert ([], 3) == stays(births, REASONS)


def test_stays_are_in_order() -> None:
    """By process, then state; below waiting its reasons, the longest first; what is not summed comes last."""
    rows = [
        row(2, 16 + 3, 1, 1), row(2, WAITING, 1, 1), row(1, 16 + 0, 1, 10), row(1, 9, 1, 500), row(1, 16 + 1, 1, 30),
        row(1, WAITING, 1, 40), row(1, 3, 1, 1), row(1, 2, 1, 1), row(1, 1, 1, 1), row(1, 12, 1, 1),
    ]  # fmt: skip
    found, _ = stays(rows, REASONS)
    assert [
        (1, "runnable", ""), (1, "running", ""), (1, "syscall", ""), (1, "waiting", ""), (1, "waiting", "select"),
        (1, "waiting", "sleep"), (1, "preempted", ""), (1, "12", ""), (2, "waiting", ""),
        (2, "waiting", "preempted"),
    ] == [(one.pid, one.state, one.reason) for one in found]  # fmt: skip


def test_stays_in_waits_whose_reason_could_not_be_read() -> None:
    """The kernel's last slot is shown as other."""
    found, _ = stays([row(1, 16 + NO_SLOT, 1, 10)], REASONS)
    assert [("waiting", "other")] == [(one.state, one.reason) for one in found]
