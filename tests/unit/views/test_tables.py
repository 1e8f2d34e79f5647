"""The tables and panels, letter by letter, at the widths people have."""

from __future__ import annotations

import pytest

from undergo.events.calls import Latency, Ledger
from undergo.goexe.function import Function
from undergo.plan.probe_plan import CookieFlag, FunctionPlan, Issue, ProbePlan, Role, RuntimeSite, Site
from undergo.views.doctor import Check, doctor_lines
from undergo.views.dry_run import dry_run_lines
from undergo.views.functions import Listed, function_lines
from undergo.views.histogram import histogram, merge
from undergo.views.inspect import Group, inspect_lines
from undergo.views.latency import SORT_KEYS, bar, latency_table
from undergo.views.ledger import ledger_lines
from undergo.views.split import BINS
from undergo.views.style import COLOUR, cells

NAMES = {
    1: "main.handleOrder",
    2: "main.price",
    3: "net/http.(*conn).serve",
    4: "github.com/organisation/service/internal/storage.(*Cache[...]).GetOrCompute",
    5: "main.idle",
    6: "github.com/organisation/service/internal/storage.(*Table[...]).GetOrCompute",
}
BUCKETS = ((1024, 2048, 5), (2048, 4096, 50), (4096, 8192, 200), (8192, 16384, 734), (16384, 32768, 120),
           (32768, 65536, 10), (262144, 524288, 1))  # fmt: skip


def row(func: int, calls: int, total: int, panics: int = 0, still: int = 0, pid: int = 7) -> Latency:
    """A function's latencies."""
    return Latency(pid, func, calls, panics, still, total, 80, 120_000_000, 234, 4_560, 9_000_000, BUCKETS)


ROWS = [row(1, 1234, 12_345_678_901, panics=3), row(2, 1_234_567, 345_678_901), row(5, 0, 0)]
LONG = [*ROWS, row(4, 99, 5_345_678_901), row(6, 99, 345_678_900), row(3, 2, 0, still=2)]


def test_latency_table() -> None:
    """Short names leave room for nearly everything in 80 columns; functions without calls are one line."""
    assert (
        """\
    CALLS  PANICS     P50      P90      P99     MAX     SUM  FUNCTION
    1,234       3  234 ns  4.56 us  9.00 ms  120 ms  12.3 s  main.handleOrder
1,234,567          234 ns  4.56 us  9.00 ms  120 ms  346 ms  main.price

p50, p90, p99 are interpolated in buckets up to 25 % wide; the rest is exact
too narrow for MIN
1 function was not called""".split("\n")
        == latency_table(ROWS, NAMES)
    )


def test_latency_table_with_long_names() -> None:
    """In 80 columns figures give way to names, and that is said; names are cut so that they stay apart."""
    assert (
        """\
    CALLS  PANICS     P50      P99     MAX     SUM  FUNCTION
    1,234       3  234 ns  9.00 ms  120 ms  12.3 s  main.handleOrder
       99          234 ns  9.00 ms  120 ms  5.35 s  ….(*Cache[...]).GetOrCompute
1,234,567          234 ns  9.00 ms  120 ms  346 ms  main.price
       99          234 ns  9.00 ms  120 ms  346 ms  ….(*Table[...]).GetOrCompute
        2               -        -       -       -  net/http.(*conn).serve

p50, p90, p99 are interpolated in buckets up to 25 % wide; the rest is exact
too narrow for MIN, P90, OPEN
1 function was not called""".split("\n")
        == latency_table(LONG, NAMES)
    )


def test_latency_table_wide() -> None:
    """In 140 columns everything is there, with a bar for the share of the time."""
    lines = latency_table(LONG, NAMES, width=140)
    titles = ["CALLS", "PANICS", "OPEN", "MIN", "P50", "P90", "P99", "MAX", "SUM", "SHARE", "FUNCTION"]
    assert titles == lines[0].split()
    assert lines[1].endswith("  ██████▊  main.handleOrder")
    assert all(cells(line) <= 140 for line in lines)


@pytest.mark.parametrize("width", [80, 100, 120, 140, 200])
def test_latency_table_fits(width: int) -> None:
    """No line is wider than the terminal."""
    many = [row(1, 10**9, 10**15, 10**6, pid=1), *LONG]
    assert all(cells(line) <= width for line in latency_table(many, NAMES, width=width))


def test_latency_table_in_colour() -> None:
    """Only slow times, panics and the bar are coloured."""
    lines = latency_table([row(1, 5, 10**9, panics=1)], NAMES, COLOUR)
    assert (
        "    5  \x1b[31m     1\x1b[0m  80 ns  234 ns  4.56 us  \x1b[33m9.00 ms\x1b[0m  \x1b[31m120 ms\x1b[0m  1.00 s"
        "  main.handleOrder"
    ) == lines[1].replace("  \x1b[36m██████████\x1b[0m", "")


def test_sort_keys() -> None:
    """The table can be sorted by each figure, largest first."""
    assert ["main.price", "main.handleOrder"] == [
        line.split()[-1] for line in latency_table(ROWS, NAMES, sort="calls")[1:3]
    ]
    assert {"sum", "calls", "panics", "open", "min", "p50", "p90", "p99", "max", *BINS} == set(SORT_KEYS)


def test_nothing_was_called() -> None:
    """Without calls there is no empty table."""
    assert ["2 functions were not called"] == latency_table([row(1, 0, 0), row(2, 0, 0)], NAMES)
    assert ["no function was called"] == latency_table([], NAMES)


def test_bar() -> None:
    """A bar is exact to an eighth of a column and never vanishes for something."""
    assert ["", "▏", "█████", "██████████", "█▎"] == [bar(s, 10) for s in (0, 0.0001, 0.5, 1, 0.125)]


def test_histogram() -> None:
    """Percentiles stand beside their buckets, gaps are marked."""
    latency = Latency(7, 1, 1120, 0, 0, 1, 1, 1, 9_000, 20_000, 40_000, BUCKETS)
    assert (
        """\
main.handleOrder  1,120 calls
  1.02 us .. 2.05 us      5  0.4 %  ▎
  2.05 us .. 4.10 us     50  4.5 %  ██
  4.10 us .. 8.19 us    200 17.9 %  ███████▉
  8.19 us .. 16.4 us    734 65.5 %  █████████████████████████████  p50
  16.4 us .. 32.8 us    120 10.7 %  ████▊                          p90
  32.8 us .. 65.5 us     10  0.9 %  ▍                              p99
         ⋮
   262 us ..  524 us      1  0.1 %  ▏""".split("\n")
        == histogram(latency, "main.handleOrder")
    )


def test_histogram_without_an_ended_call() -> None:
    """A function whose calls are all open has no histogram."""
    latency = Latency(7, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, ())
    assert ["main.f  1 call", "  no call has ended"] == histogram(latency, "main.f")


def test_merge() -> None:
    """Quarter buckets become powers of two and no count is lost."""
    quarters = [(0, 1, 1), (4, 5, 2), (5, 6, 3), (7, 8, 4), (8, 10, 5), (14, 16, 6), (16, 1 << 40, 7)]
    assert [(0, 1, 1), (4, 8, 9), (8, 16, 11), (16, 1 << 40, 7)] == merge(quarters)


FUNCTION = Function(1, "main.handleOrder", 0x48A1C0, 0x48A200, "/src/shop/main.go", 42, 0, False, False)
EXIT = Function(2, "os.Exit", 0x48B000, 0x48B010, "", 0, 0, False, False)


def test_list() -> None:
    """Each function has one line; one that cannot be traced says why."""
    rows = [Listed(FUNCTION, 2), Listed(EXIT, reason="assembly")]
    assert (
        """\
     ADDRESS  EXITS  FUNCTION
    0x48a1c0      2  main.handleOrder  /src/shop/main.go:42
    0x48b000      -  os.Exit  ?  not traceable: assembly""".split("\n")
        == list(function_lines(rows))
    )


def test_inspect() -> None:
    """Keys are aligned over all groups, long values wrap, missing ones are unknown."""
    groups = [
        Group("Build", (("go", "go1.24.11"), ("flags", "-trimpath -race -pgo"))),
        Group("Data", (("DWARF", ""),)),
    ]
    assert (
        """\
Build
  go     go1.24.11
  flags  -trimpath
         -race -pgo

Data
  DWARF  unknown""".split("\n")
        == inspect_lines(groups, width=20)
    )


def test_doctor() -> None:
    """What is missing comes with what to do, and the last line sums up."""
    checks = [
        Check("BTF", "ok", "/sys/kernel/btf/vmlinux"),
        Check(
            "uprobe_multi", "missing", "EINVAL", "Linux 6.6 has it; until then detaching many probes is slow"
        ),
        Check("ring", "unknown", remedy="run as root"),
    ]
    assert (
        """\
  ok       BTF           /sys/kernel/btf/vmlinux
  missing  uprobe_multi  EINVAL
                         -> Linux 6.6 has it; until then
                            detaching many probes is slow
  unknown  ring
                         -> run as root

1 ok, 1 missing, 1 unknown""".split("\n")
        == doctor_lines(checks, width=60)
    )
    assert "everything undergo needs is here" == doctor_lines(checks[:1])[-1]


def test_dry_run() -> None:
    """Every site is shown with its instruction, how the kernel runs it and why it was chosen."""
    push = Site(0x48A1C6, 0x8A1C6, b"\x55", "push rbp", 8, True, CookieFlag.NONE, "after the stack check")
    ret = Site(0x48A1F6, 0x8A1F6, b"\xc3", "ret", 8, False, CookieFlag.NONE, "")
    check = Site(0x43A1F6, 0x3A1F6, b"v\0", "jbe 0x48a1f0", 8, True, CookieFlag.RETRY_CHECK, "status changes")
    plan = ProbePlan(
        0,
        (FunctionPlan(1, FUNCTION, push, (ret,)), FunctionPlan(2, EXIT, push, ())),
        (
            RuntimeSite(
                Role.TRANSITION, Function(3, "runtime.casgstatus", 1, 2, "", 0, 0, False, False), check
            ),
        ),
        (Issue("main.small", "inlined", "at main.go:12"),),
    )
    squeezed = [" ".join(line.split()) for line in dry_run_lines([plan])]
    assert [
        "main.handleOrder /src/shop/main.go:42",
        "entry 0x48a1c6 emulated push rbp after the stack check",
        "exit 0x48a1f6 stepped ret",
        "",
        "os.Exit",
        "entry 0x48a1c6 emulated push rbp after the stack check",
        "no exit: it never returns",
        "",
        "Go runtime",
        "transition 0x43a1f6 emulated jbe 0x48a1f0 runtime.casgstatus: status changes [RETRY_CHECK]",
        "",
        "Not as asked",
        "inlined main.small: at main.go:12",
        "",
        "2 functions, 4 probes: 3 emulated, 1 single-stepped; nothing was attached",
    ] == squeezed


def test_ledger() -> None:
    """Nothing lost, nothing said; else per cause how much, and what to do; and it must add up."""
    assert [] == ledger_lines(Ledger(10, 5, 3, 2, {"ring full": 0}, 4, 1))
    assert [
        "lost 200 of 1,000 hits (20.0 %): 199 ring full, 1 goroutine table full",
        "  -> make the ring bigger",
    ] == ledger_lines(
        Ledger(1000, 700, 0, 100, {"goroutine table full": 1, "ring full": 199}, 0, 0),
        {"ring full": "make the ring bigger"},
    )
    assert ["2 of 10 hits are unaccounted for: please report it"] == ledger_lines(
        Ledger(10, 8, 0, 0, {}, 0, 0)
    )
