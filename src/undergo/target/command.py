"""Which file a command line would execute, and whether it can be a Go program at all."""

from __future__ import annotations

import os
from collections.abc import Mapping

from undergo.errors import NotElfError, UsageError


def resolve_command(name: str, environment: Mapping[str, str]) -> str:
    """The path that executing `name` leads to: itself if it holds a slash, else the first match in PATH.

    Raises UsageError if there is none or it cannot be executed, NotElfError if it is a script or any other
    file that is not ELF. A file that may be executed but not read passes.
    """
    if not name or "\0" in name:
        raise UsageError("the command after -- is empty" if not name else "the command holds a NUL byte")
    if "/" in name:
        candidates = [name]
    else:
        # An empty element means the current directory (POSIX, "Environment Variables").
        candidates = [os.path.join(d or ".", name) for d in environment.get("PATH", os.defpath).split(":")]
    refused = ""
    for path in candidates:
        if os.path.isdir(path):
            refused = refused or f"{path} is a directory"
        elif os.path.exists(path):
            if os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                _refuse_other_formats(path)
                return path
            refused = refused or f"{path} is not executable"
    if refused and "/" in name:
        raise UsageError(refused, "give the path of a Go executable after --")
    if "/" in name:
        raise UsageError(f"there is no file {name}")
    if refused:
        raise UsageError(f"no executable command {name} in PATH ({refused})")
    hint = (
        f"did you mean ./{name}?"
        if os.path.isfile(name)
        else "write the path of the program, such as ./program"
    )
    raise UsageError(f"there is no command {name} in PATH", hint)


def _refuse_other_formats(path: str) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(128)
    except OSError:
        return
    if head.startswith(b"#!"):
        interpreter = head[2:].split(b"\n")[0].strip().decode("utf-8", "replace")
        raise NotElfError(
            f"{path} is a script ({interpreter}), not a Go executable",
            "name the Go program it starts with -e, and run the script yourself",
        )
    if not head.startswith(b"\x7fELF"):
        raise NotElfError(f"{path} is not an ELF executable")
