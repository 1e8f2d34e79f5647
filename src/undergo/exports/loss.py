"""What a recording does not have, in words for people and for the metadata of files."""

from __future__ import annotations

from undergo.events.calls import Ledger
from undergo.recording.meta import Meta
from undergo.recording.reader import Recordings
from undergo.views.ledger import ledger_lines


def lossy(recordings: Recordings) -> bool:
    """Whether calls may be missing."""
    return any(loss_of(meta) for meta in recordings.metas)


def loss_of(meta: Meta) -> list[str]:
    """What one recording has lost; nothing if nothing."""
    lines = []
    if not meta.closed:
        lines.append("it was not closed: what came last may be missing")
    if meta.dropped_segments:
        count = meta.dropped_segments
        lines.append(
            f"its oldest {f'{count:,} segments were' if count > 1 else 'segment was'} given up (--rotate)"
        )
    if meta.ledger is None:
        if meta.closed:
            lines.append(
                "it has no ledger, because whoever recorded did not live to write one: calls may be missing"
            )
        return lines
    given = meta.ledger
    hits, delivered, aggregated, filtered = (
        int(given.get(name, 0)) for name in ("hits", "delivered", "aggregated", "filtered")
    )
    dropped = {str(cause): int(count) for cause, count in dict(given.get("dropped", {})).items()}
    ledger = Ledger(hits, delivered, aggregated, filtered, dropped, 0, 0)
    if any(ledger.dropped.values()):
        lines += ledger_lines(ledger)[:1]
    return lines


def too_deep(recordings: Recordings, most: int, what: str) -> list[str]:
    """A line about the calls that have more callers than `most`, and `what` becomes of them; none if there are none."""
    row = recordings.connection.execute(f"select count(*) from calls where depth > {most}").fetchone()
    count = row[0] if row else 0
    calls = "1 call has" if count == 1 else f"{count:,} calls have"
    return [f"{calls} more than {most} callers: {what}"] if count else []


def notes(recordings: Recordings) -> list[str]:
    """What to know of all of them: losses, and calls that had not ended."""
    several = len(recordings.metas) > 1
    lines = [
        f"{path}: {line}" if several else line
        for path, meta in zip(recordings.paths, recordings.metas, strict=True)
        for line in loss_of(meta)
    ]
    rows = recordings.connection.execute(
        "select ending, count(*) from calls where ending in ('open', 'died') group by ending order by ending"
    ).fetchall()
    why = {"open": "when the recording did", "died": "when their process did"}
    for ending, count in rows:
        what = "1 call had" if count == 1 else f"{count:,} calls had"
        lines.append(f"{what} not ended {why[ending]}: shown up to then, marked `{ending}`")
    return lines
