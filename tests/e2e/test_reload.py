"""SIGHUP and `lq apply`: lq.toml is read again, whole or not at all."""

from __future__ import annotations

import signal

import pytest

from lq.client import ApiError
from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon, wait_until


def entry(endpoint: Endpoint, key: str, rule: str) -> str:
    return (
        f'[[schedules]]\nkey = "{key}"\nschedule = "{rule}"\nqueue = "q"\n'
        f'target = "{endpoint.url("/tick")}"\n'
    )


def rules(daemon: Daemon) -> dict[str, str]:
    return {found["key"]: found["schedule"] for found in daemon.client.schedules()["items"]}


def write(daemon: Daemon, text: str) -> None:
    """Put another end to the daemon's configuration."""
    path = daemon.folder / "lq.toml"
    head = path.read_text().split("[[schedules]]")[0]
    path.write_text(head + text)


def test_sighup_applies_the_file_as_it_is_now(start: Start, endpoint: Endpoint) -> None:
    daemon = start(entry(endpoint, "a", "@daily") + entry(endpoint, "b", "@daily"))
    assert rules(daemon) == {"a": "@daily", "b": "@daily"}
    write(daemon, entry(endpoint, "b", "@hourly") + entry(endpoint, "c", "* * * * * *"))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("SIGHUP: schedules: b updated, c created, a removed")
    assert rules(daemon) == {"b": "@hourly", "c": "* * * * * *"}
    call = endpoint.next()
    assert call.headers["x-lq-schedule"] == daemon.client.schedule("c")["id"]
    assert daemon.stop().code == 0


def test_a_bad_file_changes_nothing_and_says_why(start: Start, endpoint: Endpoint) -> None:
    daemon = start(entry(endpoint, "a", "@daily"))
    write(daemon, entry(endpoint, "b", "@daily") + entry(endpoint, "c", "0 24 * * *"))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("SIGHUP: nothing was reloaded: lq.toml:")
    assert rules(daemon) == {"a": "@daily"}
    daemon.send(signal.SIGHUP)
    daemon.wait_for("SIGHUP: nothing was reloaded")
    assert daemon.stop().code == 0


def test_what_waits_for_a_restart_is_said(start: Start, endpoint: Endpoint) -> None:
    daemon = start(entry(endpoint, "a", "@daily"))
    path = daemon.folder / "lq.toml"
    path.write_text("max_payload = 1024\n" + path.read_text())
    daemon.send(signal.SIGHUP)
    daemon.wait_for("SIGHUP: these wait for a restart: max_payload")
    assert daemon.stop().code == 0


def test_what_has_changed_is_listed_and_takes_effect(start: Start, endpoint: Endpoint) -> None:
    lq = start(
        '[queues.mail]\nrate = "5/s"\nheaders = { "authorization" = "canary-1" }\n'
        '[queues.gone]\ntimeout = "5s"\n[scriptlets.old]\ncommand = ["/bin/true"]\n'
    )
    path = lq.folder / "lq.toml"
    text = path.read_text()
    text = text.replace('"5/s"', '"100/min"\nfifo = true').replace("canary-1", "canary-2")
    text = text.replace("[queues.gone]", "[queues.come]").replace(
        "scriptlets.old", "scriptlets.new"
    )
    path.write_text(f'log_level = "debug"\n{text}')
    for dry in (True, False):
        done = lq.client.reload(dry=dry)
        changes = {one.pop("key"): one for one in done["settings"]}
        assert changes == {
            "queues.mail.rate": {"change": "changed", "before": "5/s", "after": "100/min"},
            "queues.mail.fifo": {"change": "added", "after": "true"},
            "queues.mail.headers": {"change": "changed"},
            "queues.gone.timeout": {"change": "removed", "before": "5s"},
            "queues.come.timeout": {"change": "added", "after": "5s"},
            "scriptlets.old.command": {"change": "removed", "before": "/bin/true"},
            "scriptlets.new.command": {"change": "added", "after": "/bin/true"},
        }
        assert done["restart"] == ["log_level"]
    assert lq.client.queue("mail")["rate"] == "100/min"
    assert [one["name"] for one in lq.client.scriptlets()] == ["new"]
    assert lq.client.reload()["settings"] == []
    again = lq.cli("reload")
    assert (again.code, again.stdout) == (0, "")
    assert "wait for a restart: log_level" in again.stderr


def test_a_reload_leaves_what_runs_alone(start: Start, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/held")
    lq = start("[queues.q]\nconcurrency = 3\n")
    items = [lq.client.push("q", b"", target=endpoint.url("/held"))["id"] for _ in range(5)]
    for _ in range(3):
        endpoint.next()
    path = lq.folder / "lq.toml"
    path.write_text(path.read_text().replace("concurrency = 3", "concurrency = 1"))
    assert lq.cli("reload").code == 0
    assert lq.client.queue("q")["running"] == 3
    gate.set()
    for item in items:
        wait_until(lambda item=item: lq.client.item(item)["state"] == "COMPLETED")  # type: ignore[misc]
    assert lq.stop().code == 0


def test_a_dry_run_says_what_a_mistake_is(start: Start) -> None:
    lq = start('[queues.mail]\nrate = "5/s"\n')
    path = lq.folder / "lq.toml"
    path.write_text(path.read_text().replace("5/s", "fast"))
    for arguments in (["reload", "--dry-run"], ["reload"]):
        done = lq.cli(*arguments)
        assert done.code == 78
        assert "[queues.mail] rate: expected a rate such as" in done.stderr
    assert lq.client.queue("mail")["rate"] == "5/s"
    path.unlink()
    with pytest.raises(ApiError, match=r"lq\.toml"):
        lq.client.reload()
    assert lq.client.queue("mail")["rate"] == "5/s"
