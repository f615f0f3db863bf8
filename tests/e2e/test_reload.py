"""SIGHUP and `lq apply`: lq.toml is read again, whole or not at all."""

from __future__ import annotations

import signal

from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon


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
