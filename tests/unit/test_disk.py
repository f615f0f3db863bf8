"""What kind of file system a folder is on, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lq.daemon.store.disk import kind_at, remote_kind

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/nas rw,relatime - nfs4 nas:/export rw,vers=4.2
31 22 0:41 / /mnt/nas/local rw shared:7 master:1 - xfs /dev/sdb rw
32 22 0:42 / /mnt/two\040words rw - fuse.sshfs ada@vps: rw
33 22 0:43 / /mnt/over rw - cifs //nas/share rw
34 22 0:44 / /mnt/over rw - tmpfs tmpfs rw
no mount
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib/lq", "ext4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/lq", "nfs4"),
        ("/mnt/nasty", "ext4"),
        ("/mnt/nas/local/lq", "xfs"),
        ("/mnt/two words/lq", "fuse.sshfs"),
        ("/mnt/over", "tmpfs"),
    ],
)
def test_the_kind_at_a_path(path: str, kind: str) -> None:
    assert kind_at(MOUNTS, path) == kind


def test_nothing_is_known_without_mounts() -> None:
    assert kind_at("", "/var") is None


def test_a_folder_of_this_machine_is_not_remote() -> None:
    assert remote_kind(Path("/proc")) is None
