"""The block of lq.toml: written once, found again, and nothing else is touched."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.takeover import block, crontab, fromcron, naming
from lq.takeover.block import Edited, Settings
from lq.takeover.fromcron import Machine
from lq.takeover.job import Found, Job, Rule

ROOT = Machine("Europe/Berlin", "root", {"root": "/root", "ada": "/home/ada"}.get)
SOURCE = "crontab of root"


def read(text: bytes, *, system: bool = False, machine: Machine = ROOT) -> Found:
    entries = crontab.parse(text, system=system)
    return fromcron.jobs(entries, SOURCE, None if system else machine.user, machine)


def placed(before: str, text: bytes, settings: Settings | None = None) -> str:
    found = read(text)
    return block.place(
        before, SOURCE, block.names(found.jobs, before, SOURCE), settings or Settings()
    )


def a_job(**members: Any) -> Job:
    rule = Rule(rule="@daily", source="@daily")
    return Job(**{"where": "x:1", "name": "a", "rules": (rule,), "command": ("/bin/a",)} | members)


def test_a_line_of_cron_becomes_a_scriptlet_and_a_schedule() -> None:
    text = b'PATH=/opt/bin\n# Nightly backup (DB)\n30 2 * * * backup "%F" \\%x%in\n'
    table = tomllib.loads(placed("", text))
    (name,) = table["scriptlets"]
    assert name == "nightly-backup-db"
    assert table["scriptlets"][name] == {
        "command": ["/bin/sh", "-c", 'backup "'],
        "cwd": "/root",
        "env": {"SHELL": "/bin/sh", "HOME": "/root", "PATH": "/opt/bin", "LOGNAME": "root"},
        "timeout": "24h",
    }
    assert table["schedules"] == [
        {
            "key": name,
            "schedule": "30 2 * * *",
            "timezone": "Europe/Berlin",
            "queue": "cron",
            "target": f"scriptlet:{name}",
            "payload": 'F" %x\nin\n',
            "retry": 0,
            "misfire": "skip",
            "overlap": "allow",
        }
    ]


def test_users_shells_and_zones() -> None:
    text = b"SHELL=/bin/bash\nHOME=/srv\nCRON_TZ=Asia/Tokyo\n@daily ada run\n@daily eve run\n"
    found = read(text, system=True)
    (job,), (left,) = found.jobs, found.left
    assert (job.user, job.command, job.cwd) == ("ada", ("/bin/bash", "-c", "run"), "/srv")
    assert (job.rules[0].zone, job.env["LOGNAME"]) == ("Asia/Tokyo", "ada")
    assert "Debian's cron ignores it" in job.notes[0]
    assert "no user eve" in left.reason
    ada = Machine("UTC", "ada", {"root": "/root", "ada": "/home/ada"}.get)
    found = read(b"@daily root run\n@daily ada run\n", system=True, machine=ada)
    assert [job.user for job in found.jobs] == [None]
    assert "only an lq of root's can" in found.left[0].reason


def test_variables_and_shells_that_lq_cannot_have() -> None:
    (job,) = read(b'"A B"=c\nLQ_X=1\nC=d\n@daily run\n').jobs
    assert job.env.keys() == {"SHELL", "HOME", "PATH", "LOGNAME", "C"}
    assert "'A B' or 'LQ_X'" in job.notes[0]
    bare = Machine("UTC", "root", lambda _: "/root", lambda program: program != "/bin/sh")
    found = read(b"@daily a\nSHELL=/bin/fish\n@daily b\n", machine=bare)
    assert [job.where for job in found.jobs] == [f"{SOURCE}:1"]
    assert "/bin/fish, is not on this machine" in found.left[0].reason


def test_reboot_is_left_with_a_way_out() -> None:
    found = read(b"@reboot start\n22-2 * * * * a\n* * * * * * b\n")
    assert found.jobs == ()
    assert [left.where for left in found.left] == [f"{SOURCE}:{n}" for n in (1, 2, 3)]
    assert "leave it to cron" in found.left[0].reason


def test_what_cronie_picks_by_chance_is_settled_once() -> None:
    (one,), (two,) = read(b"0~59 3 * * * a\n").jobs, read(b"\n\n0~59 3 * * * a\n").jobs
    assert one.rules[0].rule == two.rules[0].rule
    assert 0 <= int(one.rules[0].rule.split()[0]) <= 59
    assert "by chance" in one.notes[0]
    (job,) = read(b"RANDOM_DELAY=45\n@daily a\n").jobs
    assert job.rules[0].jitter == "45m"


def test_mail_is_said_once() -> None:
    found = read(b"MAILTO=ada@example.com\n@daily a\n@hourly b\n")
    (note,) = found.notes
    assert "ada@example.com" in note


@pytest.mark.parametrize(
    "before",
    [
        "",
        "\n",
        'listen = "127.0.0.1:0"\n',
        'listen = "127.0.0.1:0"  # no newline',
        '[queues.mail]\nretry = 3\n\n[[schedules]]\nkey = "a"\n',
        '\ufefflisten = "127.0.0.1:0"\r\n[retry]\r\nretries = 1\r\n',
    ],
)
def test_nothing_else_is_touched(before: str) -> None:
    once = placed(before, b"@daily a\n")
    assert once.startswith(before)
    assert placed(once, b"@daily a\n") == once
    more = placed(f"{once}[queues.later]\nretry = 2\n", b"@daily a\n@hourly b\n")
    assert more.startswith(before)
    assert more.endswith("[queues.later]\nretry = 2\n")
    newline = "" if not before or before.endswith("\n") else "\n"
    assert placed(more, b"") == f"{before}{newline}[queues.later]\nretry = 2\n"


def test_names_are_unique_and_stay() -> None:
    before = '[scriptlets.backup]\ncommand = ["x"]\n[[schedules]]\nkey = "backup-2"\n'
    once = placed(before, b"@daily /usr/bin/backup a\n@hourly /usr/bin/backup b\n")
    own = [s["key"] for s in tomllib.loads(once)["schedules"]]
    assert own == ["backup-2", "backup-3", "backup-4"]
    # One more above them takes no name from those that are there.
    again = placed(
        once, b"@weekly /usr/bin/backup c\n@daily /usr/bin/backup a\n@hourly /usr/bin/backup b\n"
    )
    keys = {s["schedule"]: s["key"] for s in tomllib.loads(again)["schedules"] if "schedule" in s}
    assert keys == {"@weekly": "backup-5", "@daily": "backup-3", "@hourly": "backup-4"}


def test_several_times_of_one_job_are_several_schedules() -> None:
    job = a_job(rules=(Rule(rule="@daily", source="x"), Rule(rule="@hourly", source="y")))
    named = block.names([job], "", SOURCE)
    table = tomllib.loads(block.place("", SOURCE, named, Settings()))
    assert [s["key"] for s in table["schedules"]] == ["a", "a-2"]
    assert {s["target"] for s in table["schedules"]} == {"scriptlet:a"}
    assert block.names([job], block.place("", SOURCE, named, Settings()), SOURCE) == named


def test_a_block_edited_by_hand_is_not_written_over() -> None:
    text = placed("", b"@daily a\n")
    block.check_untouched(text, SOURCE)
    block.check_untouched(text.replace("\n", "\r\n"), SOURCE)
    block.check_untouched(text, "crontab of somebody else")
    with pytest.raises(Edited, match="changed by hand"):
        block.check_untouched(text.replace("retry = 0", "retry = 5"), SOURCE)
    with pytest.raises(Edited, match="lost its first or last line"):
        block.split(text.replace("# <<<", "# "), SOURCE)


def test_what_settings_say_of_all() -> None:
    settings = Settings(queue="o p's", retry="1m,10m", misfire="once", timeout="2h")
    text = placed("", b"@daily a\n", settings)
    assert block.settings_in(text, SOURCE) == settings
    assert block.settings_in("", SOURCE) == Settings()
    table = tomllib.loads(text)
    (schedule,) = table["schedules"]
    assert (schedule["queue"], schedule["retry"], schedule["misfire"]) == (
        "o p's",
        "1m,10m",
        "once",
    )
    assert table["scriptlets"]["a"]["timeout"] == "2h"


@given(st.text(), st.text(), st.text())
def test_any_text_survives(command: str, value: str, comment: str) -> None:
    job = a_job(command=("/bin/sh", "-c", command), env={"A": value}, comment=comment)
    text = block.place("", SOURCE, block.names([job], "", SOURCE), Settings())
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if any(0xD800 <= ord(c) < 0xE000 for c in command + value + comment):
        return  # no text of a file
    table = tomllib.loads(text)
    assert table["scriptlets"]["a"]["command"][2] == command
    assert table["scriptlets"]["a"]["env"] == {"A": value}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full >> /var/log/b.log 2>&1", "backup"),
        ("cd /srv/app && php artisan schedule:run >> /dev/null", "artisan"),
        ("test -x /usr/sbin/anacron || run-parts /etc/cron.daily", "run-parts"),
        ("[ -x /usr/bin/x ] && /usr/bin/x -q", "x"),
        ("A=1 nice -n 19 ionice -c3 /opt/sync_mail.py", "sync-mail"),
        ("/usr/bin/flock -n /tmp/lock /opt/fetch", "fetch"),
        ("timeout 60 curl -fsS https://example.com/ping", "curl"),
        ("python3 -m reporting.daily --all", "reporting-daily"),
        ("python3 /opt/report.py", "report"),
        ("bash -c 'echo hi'", "bash"),
        ("sudo -u www-data /usr/bin/php8.2 /var/www/cron.php", "cron"),
        ("echo 'unclosed", "echo"),
        ("/usr/bin/env | sort > x", "env"),
        ("&& ;", "job"),
        ("ümläut", "umlaut"),
        ("", "job"),
    ],
)
def test_names_from_commands(command: str, name: str) -> None:
    assert naming.from_command(command) == name


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        ("Nightly backup (DB)", "nightly-backup-db"),
        ("Zählerstände übertragen", "zahlerstande-ubertragen"),
        ("--------", ""),
        ("30 2 * * * old line", ""),
        ("m h  dom mon dow   command", ""),
        ("This is a long sentence that explains why the job below is here at all", ""),
    ],
)
def test_names_from_comments(comment: str, name: str) -> None:
    assert naming.from_comment(comment) == name


@given(st.text(), st.text())
def test_any_name_is_one(comment: str, command: str) -> None:
    for name in (naming.slug(comment), naming.from_command(command)):
        assert len(name) <= naming.LONGEST
        assert naming.slug(name) == name
