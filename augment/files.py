"""What may be opened: regular files, and no named pipe or device, from which a reader waits or reads for ever."""

from __future__ import annotations

import stat
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def irregular(path: Path) -> str | None:
    """What `path` is, such as "a named pipe", if it is no regular file, or a link to one; otherwise None.

    Raises `OSError` if it is not there or if that cannot be told.
    """
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "no regular file")
