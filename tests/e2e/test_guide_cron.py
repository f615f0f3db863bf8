"""docs/cron-replacement.md, carried out: each command as it stands there.

What a shell of the reader would know is put in: the crontab is that of a user made for the test,
and lq that of the test.
"""

from __future__ import annotations

import pwd
import re
from pathlib import Path

from .conftest import Start
from .guide import blocks, run, typed
from .test_takeover_cron import install, installed, pytestmark, user

__all__ = ["pytestmark", "user"]


def test_from_cron_to_lq_and_back(start: Start, user: str) -> None:
    daemon = start()
    guide = "cron-replacement.md"

    def as_me(line: str) -> str:
        mine = line.replace("lq import crontab", f"lq import crontab --user {user}")
        return run(daemon, mine, TZ="Europe/Berlin")

    def told(lines: list[str]) -> list[str]:
        """What the guide shows, for this user, without what is of the reader's day and folders."""
        fixed = [line for line in lines if not re.match(r"\w{3} \d{4}-|LQ +CRON|…", line)]
        return [
            line.replace("of ada", f"of {user}")
            .replace("/home/ada/.config/lq/", "")
            .replace("crontab-ada", f"crontab-{user}")
            for line in fixed
        ]

    ((_, lines),) = typed(blocks(guide, "1. What cron runs")[0])
    crontab = "\n".join([*lines, ""])
    install(user, crontab)
    for heading in ("2. What lq would make of it", "3. Hand over"):
        ((command, lines),) = typed(blocks(guide, heading)[0])
        said = as_me(command).replace(f"{daemon.folder}/", "")
        assert [line for line in told(lines) if line not in said] == []
    backup = Path(pwd.getpwnam(user).pw_dir) / "backup"
    backup.write_text("#!/bin/sh\necho backed up by $LOGNAME in $PWD\n")
    backup.chmod(0o755)
    look, push, history = blocks(guide, "4. Look")[0].splitlines()
    assert "nightly-backup" in as_me(look)
    as_me(push)
    assert "COMPLETED" in as_me(history)
    assert [line for line in installed(user).splitlines() if not line.startswith("#")] == [
        "MAILTO=ada@example.com",
        "@reboot  ./tunnel",
    ]
    as_me(blocks(guide, "5. Do better than cron")[0].strip())
    assert 'misfire = "once"' in (daemon.folder / "lq.toml").read_text()
    ((command, lines),) = typed(blocks(guide, "6. And back")[0])
    said = as_me(command)
    assert [line for line in told(lines) if line not in said] == []
    assert installed(user) == crontab
    assert daemon.client.schedules()["items"] == []
