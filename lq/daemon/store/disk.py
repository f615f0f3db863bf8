"""What kind of file system a folder is on, where the kernel says so.

SQLite's write-ahead log needs memory that all its users share, and locks that work: network file
systems promise neither.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_REMOTE: Final = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs", "virtiofs"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.goofys"),
    }
)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def remote_kind(folder: Path) -> str | None:
    """The kind of network file system that a folder is on; None where it is on none, or unknown."""
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:  # not Linux
        return None
    kind = kind_at(mounts, os.fspath(folder.resolve()))
    return kind if kind in _REMOTE else None


def kind_at(mounts: str, path: str) -> str | None:
    """The kind of file system at a path. Shape: `mounts` is a mountinfo of proc(5)."""
    kind, longest = None, -1
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        fields = place.split(" ")
        if len(fields) < 5 or not source:
            continue
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = path == point or path.startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= longest:  # of two at one point the later one is on top
            kind, longest = source.split(" ")[0], len(point)
    return kind
