"""`undergo report A --compare B`: what changed, and whether it is more than noise."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from undergo.analysis.changes import changes
from undergo.analysis.selection import selected
from undergo.cli.recordings import opened, say_caveats, say_recorded_ledger
from undergo.views import jsonlines
from undergo.views.changes import change_lines
from undergo.views.style import Palette


def compare(
    before: Sequence[str],
    after: Sequence[str],
    patterns: Sequence[str],
    limit: int | None,
    as_json: bool,
    style: Palette,
) -> None:
    """Reads, compares and shows. Raises UndergoError."""
    with opened([*before, *after]) as recordings:
        rows = changes(recordings, len(before), selected(recordings, patterns))
        shown = rows[:limit] if limit else rows
        if as_json:
            text = "".join(map(jsonlines.change, shown))
        else:
            lines = change_lines(shown, style, shutil.get_terminal_size((120, 40)).columns)
            if len(rows) > len(shown):
                more = f"{len(rows) - len(shown):,} more functions; --limit shows more"
                lines.append(style.paint(style.dim, more))
            text = "".join(line + "\n" for line in lines)
        jsonlines.write_batch(sys.stdout.buffer, text)
        say_caveats(recordings, as_json, style)
        say_recorded_ledger(recordings, as_json, style)
