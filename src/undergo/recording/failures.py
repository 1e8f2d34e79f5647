"""What the disk refused, in words."""

from __future__ import annotations

import os
import re


def in_words(error: Exception) -> str:
    """Of an OSError or duckdb.Error: `No space left on device`."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # duckdb puts what the system said into JSON, after words of its own
    number = re.search(r'"errno":"(\d+)"', str(error))
    return os.strerror(int(number[1])) if number else str(error).partition("\n")[0]
