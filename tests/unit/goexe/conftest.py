"""Fixtures: hand-made executables as files, opened and closed for the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from goimage import Image

from undergo.goexe.executable import GoExecutable

Opener = Callable[..., GoExecutable]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write bytes as a file and give its path."""

    def write_bytes(data: bytes) -> Path:
        path = tmp_path / "program"
        path.write_bytes(data)
        return path

    return write_bytes


@pytest.fixture
def opened(write: Callable[[bytes], Path]) -> Iterator[Opener]:
    """Open a hand-made executable."""
    executables = []

    def open_image(image: Image = Image()) -> GoExecutable:  # noqa: B008  # a frozen value
        executables.append(GoExecutable.open(write(image.build()), "program"))
        return executables[-1]

    yield open_image
    for executable in executables:
        executable.close()
