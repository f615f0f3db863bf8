"""Taking over from cron with its own tools: crontab(1) of Debian, and a user made for the test."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lq.config import Config

from .conftest import Start
from .process import LQ, PATIENCE_S, Daemon, run_lq

pytestmark = [
    pytest.mark.skipif(
        shutil.which("crontab") is None or os.geteuid() != 0,
        reason="needs crontab(1), and root to make a user",
    ),
    pytest.mark.skipif(
        "scriptlets" not in Config.__struct_fields__, reason="this lq runs no scriptlets"
    ),
]

CRONTAB = r"""# m h  dom mon dow   command
SHELL=/bin/sh
MAILTO=ada@example.com

# Nightly backup (DB)
30 2 * * *  echo "backed up" > backed-up
@hourly     date +\%F
*/5 8-18 * * mon-fri   cat > sent%Hello%there
@reboot     echo started
"""


@pytest.fixture
def user() -> Iterator[str]:
    """A user of this machine with a folder and no crontab."""
    name = f"lq{secrets.token_hex(4)}"
    subprocess.run(["useradd", "--create-home", name], check=True, capture_output=True)
    yield name
    subprocess.run(["crontab", "-u", name, "-r"], check=False, capture_output=True)
    subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


def install(user: str, text: str) -> None:
    subprocess.run(["crontab", "-u", user, "-"], input=text.encode(), check=True)


def installed(user: str) -> str:
    return subprocess.run(
        ["crontab", "-u", user, "-l"], check=True, capture_output=True
    ).stdout.decode()


def keys(daemon: Daemon) -> list[str]:
    return [one["key"] for one in daemon.client.schedules()["items"]]


def active(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_whole_takeover_and_back(start: Start, user: str) -> None:
    daemon = start()
    install(user, CRONTAB)
    before = (daemon.folder / "lq.toml").read_bytes()
    dry = daemon.cli("import", "crontab", "--user", user, "--dry-run")
    assert dry.code == 0, dry.stderr
    assert "nightly-backup-db" in dry.stdout
    assert (daemon.folder / "lq.toml").read_bytes() == before

    done = daemon.cli("import", "crontab", "--user", user, "--apply", "--disable-old")
    assert done.code == 0, done.stderr
    assert f"left to cron: crontab of {user}:9: @reboot     echo started" in done.stdout
    assert "ada@example.com" in done.stderr
    assert sorted(keys(daemon)) == ["cat", "date", "nightly-backup-db"]
    off = installed(user)
    assert active(off) == ["SHELL=/bin/sh", "MAILTO=ada@example.com", "@reboot     echo started"]
    saved = daemon.folder / f"crontab-{user}.lq-saved"
    assert saved.read_text() == CRONTAB

    written = (daemon.folder / "lq.toml").read_bytes()
    again = daemon.cli("import", "crontab", "--user", user, "--apply", "--disable-old")
    assert again.code == 0, again.stderr
    assert (daemon.folder / "lq.toml").read_bytes() == written
    assert installed(user) == off

    back = daemon.cli("import", "crontab", "--user", user, "--undo", "--apply")
    assert back.code == 0, back.stderr
    assert installed(user) == CRONTAB
    assert (daemon.folder / "lq.toml").read_bytes() == before
    assert keys(daemon) == []
    assert not saved.exists()


def test_a_job_runs_as_it_did_under_cron(start: Start, user: str) -> None:
    """The environment, folder, input and umask are those that Debian's cron was seen to give."""
    daemon = start()
    home = Path(pwd.getpwnam(user).pw_dir)
    install(
        user,
        'A = "b c"\nMAILTO=""\nFOO=  x y  \n# Look around\n'
        "0 1 * * * env > env; pwd > pwd; umask > umask; id -un > id; cat > in%a%%b\\%c\n",
    )
    done = daemon.cli("import", "crontab", "-u", user, "--apply", "--disable-old")
    assert done.code == 0, done.stderr
    ran = daemon.cli("schedules", "run", "look-around", "--wait")
    assert ran.code == 0, ran.stderr
    seen = dict(line.split("=", 1) for line in (home / "env").read_text().splitlines())
    given = {"A": "b c", "FOO": "x y", "MAILTO": "", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    given |= {"HOME": str(home), "LOGNAME": user, "PWD": str(home)}
    assert given.items() <= seen.items()
    more = {name for name in seen.keys() - given.keys() if not name.startswith("LQ_")}
    assert more <= {"LANG", "USER"}  # which PAM and lq set
    assert (home / "pwd").read_text() == f"{home}\n"
    assert (home / "id").read_text() == f"{user}\n"
    assert (home / "in").read_text() == "a\n\nb%c\n"
    assert (home / "umask").read_text() == "0022\n"


def test_nothing_is_switched_off_that_lq_does_not_run(start: Start, user: str) -> None:
    daemon = start()
    install(user, CRONTAB)
    early = daemon.cli("import", "crontab", "--user", user, "--disable-old")
    assert early.code != 0
    assert "not among the daemon's schedules yet" in early.stderr
    assert installed(user) == CRONTAB
    daemon.stop()
    down = daemon.cli("import", "crontab", "--user", user, "--disable-old")
    assert down.code != 0
    assert "Nothing was switched off" in down.stderr
    assert installed(user) == CRONTAB
    daemon.start()  # which reads what was written
    late = daemon.cli("import", "crontab", "--user", user, "--disable-old")
    assert late.code == 0, late.stderr
    assert active(installed(user))[-1] == "@reboot     echo started"


def test_two_that_run_the_same_are_warned_of(start: Start, user: str) -> None:
    daemon = start()
    install(user, CRONTAB)
    done = daemon.cli("import", "crontab", "--user", user, "--retry", "3")
    assert f"lq import crontab --user {user} --retry 3 --apply --disable-old" in done.stderr
    done = daemon.cli("import", "crontab", "--user", user, "--apply")
    assert "3 jobs run twice now, in lq and in cron" in done.stderr
    # What was asked for before still holds.
    text = (daemon.folder / "lq.toml").read_text()
    assert (text.count("retry = 3"), text.count("retry = 0")) == (3, 0)


def test_what_was_edited_since_is_kept_by_undo(start: Start, user: str) -> None:
    daemon = start()
    install(user, "0 1 * * * a\n0 2 * * * b\n")
    assert daemon.cli("import", "crontab", "-u", user, "--apply", "--disable-old").code == 0
    install(user, installed(user) + "0 3 * * * c\n")
    more = daemon.cli("import", "crontab", "-u", user, "--apply", "--disable-old")
    assert more.code == 0, more.stderr
    assert sorted(keys(daemon)) == ["a", "b", "c"]
    assert active(installed(user)) == []
    back = daemon.cli("import", "crontab", "-u", user, "--undo", "--apply")
    assert installed(user) == "0 1 * * * a\n0 2 * * * b\n0 3 * * * c\n"
    assert "It has changed since" in back.stderr


def test_a_file_is_rewritten_as_it_was(start: Start, user: str) -> None:
    daemon = start()
    path = daemon.folder / "jobs"
    data = f"# \u00e9t\u00e9\n17 3 * * *\t{user}\ttrue\n* * * * * nobody-such x\n5 4 * * * root y"
    path.write_text(data)
    path.chmod(0o640)
    ada = pwd.getpwnam(user)
    os.chown(path, ada.pw_uid, ada.pw_gid)
    done = daemon.cli("import", "crontab", "jobs", "--system", "--apply", "--disable-old")
    assert done.code == 0, done.stderr
    assert "no user nobody-such" in done.stdout
    assert "no newline" in done.stderr
    assert active(path.read_text()) == ["* * * * * nobody-such x"]
    stat = path.stat()
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o640, ada.pw_uid, ada.pw_gid)
    assert (daemon.folder / "jobs.lq-saved").read_text() == data
    assert daemon.cli("import", "crontab", "jobs", "--system", "--undo").code == 0
    assert path.read_text() == data
    assert sorted(one.name for one in daemon.folder.iterdir() if "jobs" in one.name) == ["jobs"]


def test_a_configuration_that_lq_would_refuse_is_not_written(start: Start, user: str) -> None:
    daemon = start()
    config = daemon.folder / "lq.toml"
    config.write_text(f"{config.read_text()}schedules = []\n")
    before = config.read_bytes()
    install(user, CRONTAB)
    done = daemon.cli("import", "crontab", "-u", user, "--apply", "--disable-old")
    assert done.code == 78
    assert "has no place for [[schedules]]" in done.stderr
    assert config.read_bytes() == before
    assert installed(user) == CRONTAB


def test_a_block_edited_by_hand_is_left_alone(start: Start, user: str) -> None:
    daemon = start()
    config = daemon.folder / "lq.toml"
    install(user, CRONTAB)
    assert daemon.cli("import", "crontab", "-u", user).code == 0
    edited = config.read_text().replace("retry = 0", "retry = 3", 1)
    config.write_text(edited)
    config.chmod(0o600)
    done = daemon.cli("import", "crontab", "-u", user, "--queue", "ops")
    assert done.code != 0
    assert "changed by hand" in done.stderr
    assert config.read_text() == edited
    assert daemon.cli("import", "crontab", "-u", user, "--queue", "ops", "--overwrite").code == 0
    assert "retry = 3" not in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600


def test_jobs_whose_lines_are_gone_are_not_dropped_unasked(start: Start, user: str) -> None:
    daemon = start()
    install(user, "0 1 * * * a\n0 2 * * * b\n")
    assert daemon.cli("import", "crontab", "-u", user, "--apply", "--disable-old").code == 0
    install(user, "# all of it is in lq now\n0 2 * * * b\n")
    done = daemon.cli("import", "crontab", "-u", user, "--apply")
    assert done.code == 1
    assert "a of lq.toml would go" in done.stderr
    assert sorted(keys(daemon)) == ["a", "b"]
    # What changes its time is the same job still.
    install(user, "0 1 * * * a\n30 2 * * * b\n")
    assert daemon.cli("import", "crontab", "-u", user, "--apply").code == 0
    assert {s["key"]: s["schedule"] for s in daemon.client.schedules()["items"]} == {
        "a": "0 1 * * *",
        "b": "30 2 * * *",
    }
    install(user, "30 2 * * * b\n")
    assert daemon.cli("import", "crontab", "-u", user, "--apply", "--overwrite").code == 0
    assert keys(daemon) == ["b"]


def test_two_imports_at_once_lose_nothing(start: Start, user: str) -> None:
    daemon = start()
    other = daemon.folder / "jobs"
    other.write_text("0 3 * * * root c\n")
    install(user, "0 1 * * * a\n")
    both = [
        subprocess.Popen(
            [LQ, "import", "crontab", *words],
            cwd=daemon.folder,
            env=daemon.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in (("-u", user), ("jobs", "--system"))
    ]
    said = [process.communicate(timeout=PATIENCE_S)[1] for process in both]
    text = (daemon.folder / "lq.toml").read_text()
    for process, words, told in zip(both, ("scriptlets.a]", "scriptlets.c]"), said, strict=True):
        assert process.returncode == 0 or "was changed meanwhile" in told
        assert (words in text) == (process.returncode == 0)


def test_a_link_stays_one(start: Start, user: str) -> None:
    daemon = start(start=False)
    config = daemon.folder / "lq.toml"
    real = config.rename(daemon.folder / "real.toml")
    config.symlink_to("real.toml")
    install(user, "0 1 * * * a\n")
    assert daemon.cli("import", "crontab", "-u", user).code == 0
    assert config.is_symlink()
    assert "[scriptlets.a]" in real.read_text()
    assert not [path for path in daemon.folder.iterdir() if path.name.startswith(".")]


def test_stdin_and_json(start: Start) -> None:
    daemon = start(start=False)
    done = subprocess.run(
        [LQ, "import", "crontab", "-", "--json", "--dry-run"],
        cwd=daemon.folder,
        env=daemon.environ | {"TZ": "Europe/Berlin"},
        input=CRONTAB.encode(),
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["changes"] is True
    assert [job["scriptlet"] for job in answer["jobs"]] == ["nightly-backup-db", "date", "cat"]
    (schedule,) = answer["jobs"][0]["schedules"]
    assert schedule["timezone"] == "Europe/Berlin"
    assert [(run["lq"], run["old"]) for run in schedule["next"]] == [(1, 1)] * 5
    assert [left["line"] for left in answer["left"]] == ["@reboot     echo started"]


def test_the_usual_mistakes(start: Start, user: str) -> None:
    daemon = start(start=False)
    for arguments, code, said in (
        (("nowhere",), 1, "there is no"),
        (("--user", "nobody-such"), 1, "no user nobody-such"),
        (("--user", user), 0, "nothing in crontab of"),
        (("--user", user, "--undo"), 0, "No line of the crontab"),
        (("--misfire", "twice"), 2, "once, skip or all"),
        (("--timeout", "soon"), 2, "a number with its unit"),
        (("-", "--disable-old"), 2, "name its file"),
    ):
        done = run_lq("import", "crontab", *arguments, cwd=daemon.folder, environ=daemon.environ)
        assert (done.code, said in done.stderr) == (code, True), (arguments, done)
