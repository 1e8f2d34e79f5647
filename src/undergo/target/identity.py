"""Which executable file is meant: by inode, never by path."""

from __future__ import annotations

import os
from dataclasses import dataclass

from undergo.errors import PermissionDeniedError, TargetError


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """An executable file as the kernel's uprobes see it: one inode of one file system.

    A path is not an identity: the file behind it can be replaced while the old one still runs, and the same
    path names different files in different mount namespaces. On overlayfs two containers of the same image
    have two identities, because each mount has its own device number.
    """

    dev: int  # st_dev
    ino: int  # st_ino

    @classmethod
    def of_stat(cls, stat: os.stat_result) -> Identity:
        """The identity in the result of a stat() or fstat()."""
        return cls(stat.st_dev, stat.st_ino)


def identity_of(path: str | os.PathLike[str]) -> Identity:
    """The identity of the regular file at `path`, symbolic links followed.

    Raises TargetError if there is no such file or it is not a regular one, PermissionDeniedError if a
    directory on the way may not be searched.
    """
    shown = os.fspath(path)
    try:
        stat = os.stat(path)
    except PermissionError:
        raise PermissionDeniedError(f"{shown}: permission denied", "run undergo as root") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"
        raise TargetError(f"{shown}: {why.lower()}") from None
    if not os.path.isfile(path):
        raise TargetError(f"{shown}: not a regular file", "-e takes the path of a Go executable")
    return Identity.of_stat(stat)
