"""What people are told about loss: nothing if nothing was lost."""

from __future__ import annotations

from collections.abc import Mapping

from undergo.events.calls import Ledger
from undergo.views.style import PLAIN, Palette, escape


def ledger_lines(
    ledger: Ledger, remedies: Mapping[str, str] | None = None, style: Palette = PLAIN
) -> list[str]:
    """At most one line for losses and one per remedy; `remedies` says per cause what to do.

    A ledger that does not add up is a bug of undergo, and said as well.
    """
    dropped = {cause: count for cause, count in ledger.dropped.items() if count}
    lost = sum(dropped.values())
    lines = []
    if lost:
        causes = ", ".join(
            f"{count:,} {escape(cause)}"
            for cause, count in sorted(dropped.items(), key=lambda item: -item[1])
        )
        share = 100 * lost / ledger.hits if ledger.hits else 100.0
        percent = "<0.1" if share < 0.05 else f"{share:.1f}"
        lines.append(style.paint(style.hot, f"lost {lost:,} of {ledger.hits:,} hits ({percent} %): {causes}"))
        actions = [remedies[cause] for cause in dropped if remedies and cause in remedies]
        lines += [f"  -> {action}" for action in dict.fromkeys(actions)]
    rest = ledger.hits - ledger.delivered - ledger.aggregated - ledger.filtered - lost
    if rest:
        lines.append(
            style.paint(
                style.hot, f"{abs(rest):,} of {ledger.hits:,} hits are unaccounted for: please report it"
            )
        )
    return lines
