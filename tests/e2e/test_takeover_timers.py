"""`lq import systemd-timer`: units as files, with their drop-ins, beside what systemd would do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lq.config import Config

from .conftest import Start
from .process import Ended, environment, run_lq

TIMER = """[Unit]
Description=Sweep

[Timer]
OnCalendar=Mon..Fri 9:30
OnCalendar=*-*~1 23:00 Asia/Tokyo
Persistent=true

[Install]
WantedBy=timers.target
"""
SERVICE = """[Service]
Type=oneshot
ExecStart=/usr/bin/printf '%%s' "a b" %i
"""


def units(folder: Path) -> Path:
    timer = folder / "sweep@.timer"
    timer.write_text(TIMER)
    (folder / "sweep@.service").write_text(SERVICE)
    for name, text in (
        ("sweep@.timer.d/10-more.conf", "[Timer]\nRandomizedDelaySec=5min\n"),
        ("sweep@.service.d/10-more.conf", "[Service]\nEnvironment=A=b\n"),
        ("timer.d/20-all.conf", "[Timer]\nAccuracySec=1s\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return timer


def ask(folder: Path, *words: str, zone: str = "Europe/Berlin") -> Ended:
    return run_lq(
        *("import", "systemd-timer", *words), cwd=folder, environ=environment(folder, TZ=zone)
    )


def found(folder: Path, *words: str, zone: str = "Europe/Berlin") -> Any:
    done = ask(folder, *words, "--dry-run", "--json", zone=zone)
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_timer_with_its_drop_ins(tmp_path: Path) -> None:
    (job,) = found(tmp_path, str(units(tmp_path)))["jobs"]
    assert job["command"] == ["/usr/bin/printf", "%s", "a b", ""]
    assert [(s["key"], s["schedule"], s["timezone"]) for s in job["schedules"]] == [
        ("sweep", "30 9 * * 1-5", "Europe/Berlin"),
        ("sweep-2", "0 23 L * *", "Asia/Tokyo"),
    ]
    assert any("AccuracySec" in note for note in job["notes"])


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_the_next_runs_are_those_of_systemd(tmp_path: Path, zone: str) -> None:
    (job,) = found(tmp_path, str(units(tmp_path)), zone=zone)["jobs"]
    for schedule in job["schedules"]:
        assert [(run["lq"], run["old"]) for run in schedule["next"]] == [(1, 1)] * 5
    done = ask(tmp_path, str(units(tmp_path)), "--dry-run", zone=zone)
    assert done.stdout.count("the same") == 10
    assert "DIFFERS" not in done.stdout


def test_what_is_no_timer(tmp_path: Path) -> None:
    for words, said in (
        (("no-such-unit",), "no unit no-such-unit.timer"),
        (("a b",), "is no name of a timer"),
        (("./gone.timer",), "cannot be read"),
    ):
        done = ask(tmp_path, *words)
        assert (done.code, said in done.stderr) == (1, True), done.stderr
    (tmp_path / "alone.timer").write_text("[Timer]\nOnCalendar=daily\n")
    done = ask(tmp_path, "./alone.timer")
    assert (done.code, "no unit alone.service" in done.stderr) == (1, True), done.stderr


@pytest.mark.skipif(
    "scriptlets" not in Config.__struct_fields__, reason="this lq runs no scriptlets"
)
def test_it_is_written_and_applied(start: Start) -> None:
    daemon = start()
    units(daemon.folder)
    for name in ("sweep@.timer", "sweep@.service"):
        (daemon.folder / name).rename(daemon.folder / name.replace("@", ""))
    words = ("import", "systemd-timer", "./sweep.timer", "--apply")
    done = daemon.cli(*words)
    assert done.code == 0, done.stderr
    assert "systemctl disable --now sweep.timer" in done.stderr
    schedules = {one["key"]: one for one in daemon.client.schedules()["items"]}
    assert sorted(schedules) == ["sweep", "sweep-2"]
    written = (daemon.folder / "lq.toml").read_bytes()
    assert daemon.cli(*words).code == 0
    assert (daemon.folder / "lq.toml").read_bytes() == written
