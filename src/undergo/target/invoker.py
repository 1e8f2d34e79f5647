"""Who called sudo: the user as whom a launched command runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from undergo.errors import UsageError


@dataclass(frozen=True, slots=True)
class Invoker:
    """The user behind sudo."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str  # "" if the uid is not in the user database
    home: str  # likewise

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """`inherited` with this user's HOME, USER and LOGNAME in place of root's."""
        mine = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}
        return {**inherited, **{key: value for key, value in mine.items() if value}}

    def become(self) -> None:
        """Drop from root to this user for good: groups first, as setresuid takes the right to set them."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def invoker(environment: Mapping[str, str], uid: int) -> Invoker | None:
    """The user who ran sudo, or None if we are not root through somebody else's sudo.

    `uid` is our effective user id. Raises UsageError if sudo's variables make no sense.
    """
    if uid != 0 or "SUDO_UID" not in environment:
        return None
    try:
        his_uid, his_gid = int(environment["SUDO_UID"]), int(environment.get("SUDO_GID", ""))
        if his_uid < 0 or his_gid < 0:
            raise ValueError
    except ValueError:
        raise UsageError("SUDO_UID or SUDO_GID is not a number", "unset them, or use --as-root") from None
    if his_uid == 0:
        return None
    import pwd  # only needed under sudo

    try:
        entry = pwd.getpwuid(his_uid)
    except KeyError:
        return Invoker(his_uid, his_gid, (his_gid,), "", "")
    groups = tuple(os.getgrouplist(entry.pw_name, his_gid))
    return Invoker(his_uid, his_gid, groups, entry.pw_name, entry.pw_dir)
