"""docs/vps.md: its backup and restore, carried out as they stand there."""

from __future__ import annotations

from lq.client import Client

from .conftest import Start
from .guide import blocks, run
from .process import LAST_OF_BANNER


def test_back_up_and_restore(start: Start) -> None:
    daemon = start()

    def here(line: str) -> str:
        """A line of the guide with the folders of the test in the places of the machine's."""
        for theirs, ours in (
            ("/var/lib/lq", str(daemon.data)),
            ("/var/backups", str(daemon.folder / "backups")),
            ("/etc/lq", str(daemon.folder / "lq.toml")),
            ("-o lq -g lq ", ""),
        ):
            line = line.replace(theirs, ours)
        return run(daemon, line)

    (daemon.folder / "backups").mkdir()
    kept = daemon.client.push("q", b"kept", target="https://example.com/", delay_ms=3_600_000)["id"]
    save, restore = blocks("vps.md", "Back up")
    for line in save.splitlines():
        here(line)
    assert (daemon.folder / "backups/secret").read_text() == (daemon.data / "secret").read_text()
    lost = daemon.client.push("q", b"lost", target="https://example.com/", delay_ms=3_600_000)["id"]
    stop, *copy, restart, look, release = restore.splitlines()
    assert (stop, restart) == ("systemctl stop lq", "systemctl start lq")
    daemon.stop()
    for line in copy:
        here(line)
    daemon.launch()
    daemon.wait_for(LAST_OF_BANNER)
    here(look)
    assert daemon.client.hold()["held"] is True
    here(release)
    assert daemon.client.ready() == {"status": "ok"}
    waiting = [item["id"] for item in Client(socket=daemon.socket).items()["items"]]
    assert (kept in waiting, lost in waiting) == (True, False)
