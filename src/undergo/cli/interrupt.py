"""The end of undergo when nobody wants to wait for it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NoReturn


def end_at_once(exit_code: int) -> NoReturn:
    """Says so, and is gone: nothing is waited for, and nothing cleaned up."""
    with suppress(OSError):
        os.write(2, b"\nundergo: interrupted\n")
    os._exit(exit_code)
