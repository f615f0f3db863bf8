"""`lq export` and `lq apply FILE`: from one daemon to another, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Start
from .process import Daemon

TARGET = "https://example.com/hook"


def exported(lq: Daemon) -> str:
    done = lq.cli("export")
    assert done.code == 0, done.stderr
    return done.stdout


def applied(lq: Daemon, text: str, *options: str, code: int = 0) -> list[dict[str, Any]]:
    (lq.folder / "e.toml").write_text(text)
    done = lq.cli("apply", "e.toml", "--json", *options)
    assert done.code == code, done.stderr
    changes: list[dict[str, Any]] = json.loads(done.stdout)
    return changes


def words(changes: list[dict[str, Any]]) -> set[str]:
    return {str(change["change"]) for change in changes}


@pytest.fixture
def full(lq: Daemon) -> Daemon:
    """A daemon with something of everything."""
    client = lq.client
    client.edit_queue("mail", concurrency=3, retry="10s,1m", timeout="90s", target=TARGET)
    client.edit_queue("api/v1 \"odd\" 'name' é", rate="10/s", headers={"X-A": 'quo"ted'})
    client.pause("mail", reason='it "moves"')
    client.create_schedule("30 2 * * *", "mail", key="nightly", tz="Europe/Berlin", target=TARGET)
    client.create_schedule(
        "E=90s", "mail", json={"a": [1, 2.5, None, "ü\n"]}, key="k/2", misfire="skip",
        overlap="skip", labels=["x", "y"], jitter="5s", expires="1h", method="PUT",
        target=TARGET, retry=3, timeout="30s", times=9, until="2036-01-01T00:00:00Z",
        headers={"X-B": "b"},
    )  # fmt: skip
    client.create_schedule("@daily", "q", b"\x00\xff", key="bytes", target=TARGET)
    client.create_schedule("@daily", "q", b"text\n'''", key="text", target=TARGET,
                           content_type="text/plain")  # fmt: skip
    client.pause_schedule("text")
    client.create_token("shop", ["push"], ["shop-*"])
    client.create_token("gone", ["push"])
    client.revoke_token("gone")
    return lq


def test_from_one_daemon_to_another(full: Daemon, start: Start) -> None:
    text = exported(full)
    assert words(applied(full, text)) == {"unchanged"}
    assert exported(full) == text
    other = start(name="other")
    dry = applied(other, text, "--dry-run")
    assert other.client.queues() == []
    changes = applied(other, text)
    assert [(c["name"], c["change"]) for c in changes] == [(c["name"], c["change"]) for c in dry]
    assert words(changes) == {"created", "missing"}
    [token] = [change for change in changes if change["kind"] == "token"]
    assert token["note"] == "make it with: lq tokens create shop --scope push --queue 'shop-*'"
    other.client.create_token("shop", ["push"], ["shop-*"])
    assert exported(other) == text
    assert words(applied(other, text)) == {"unchanged"}
    for key in ("nightly", "k/2", "bytes", "text"):
        here, there = full.client.schedule(key), other.client.schedule(key)
        for name in ("schedule", "timezone", "payload", "payloadType", "target", "paused"):
            assert here.get(name) == there.get(name)


def test_no_digest_and_no_token_is_in_it(full: Daemon) -> None:
    made = full.client.create_token("x", ["read"])["token"]
    text = exported(full)
    assert made not in text
    assert "digest" not in text
    assert "gone" not in text


def test_what_differs_is_made_so_and_told(full: Daemon) -> None:
    text = exported(full)
    full.client.edit_queue("mail", concurrency=7, paused=False)
    full.client.edit_schedule("nightly", rule="0 5 * * *", method="PUT")
    full.client.delete_schedule("bytes")
    full.client.create_schedule("@daily", "q", key="new", target=TARGET)
    told = {c["name"]: (c["change"], set(c.get("fields", ()))) for c in applied(full, text, "-n")}
    assert told["mail"] == ("updated", {"concurrency", "paused", "pause_reason"})
    assert told["nightly"] == ("updated", {"schedule", "method"})
    assert told["bytes"][0] == "created"
    assert "new" not in told
    applied(full, text)
    assert "new" in exported(full)
    pruned = applied(full, text, "--prune")
    assert [c["name"] for c in pruned if c["change"] == "removed"] == ["new"]
    assert exported(full) == text


def test_a_queue_that_holds_items_is_not_pruned(full: Daemon) -> None:
    text = exported(full)
    full.client.push("busy", b"", target=TARGET, delay_ms=3_600_000)
    changes = applied(full, text, "--prune", code=5)
    [conflict] = [change for change in changes if change["change"] == "conflict"]
    assert conflict["name"] == "busy"


def test_what_is_not_shown_is_neither_written_nor_taken_away(lq: Daemon) -> None:
    lq.client.edit_queue("q", headers={"Authorization": "Bearer canary", "X-A": "1"})
    done = lq.cli("export")
    assert "canary" not in done.stdout
    assert "[redacted]" not in done.stdout
    assert "header Authorization" in done.stderr
    assert words(applied(lq, done.stdout)) == {"unchanged"}
    changed = done.stdout.replace('"1"', '"2"')
    assert words(applied(lq, changed, code=5)) == {"conflict"}
    assert lq.client.queue("q")["headers"] == {"Authorization": "[redacted]", "X-A": "1"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen = '127.0.0.1:1'", "e.toml:1: listen: expected queues"),
        ("\n[queues.q]\ncolour = 1", "e.toml:3: queues.q.colour: is not known"),
        ("[[schedules]]\nkey = 'k'", "e.toml:1: schedules.0: schedule is missing"),
        ("queues = 1", "expected tables"),
        ("[queues", "not valid TOML"),
        ("[queues]\nq = 1", "expected a table"),
        ("schedules = [1]", "expected a table"),
    ],
)
def test_a_file_that_is_none_changes_nothing(lq: Daemon, text: str, says: str) -> None:
    (lq.folder / "e.toml").write_text(text)
    done = lq.cli("apply", "e.toml")
    assert done.code == 78
    assert says in done.stderr
    assert lq.client.queues() == []


def test_a_value_that_the_daemon_refuses(lq: Daemon) -> None:
    (lq.folder / "e.toml").write_text("[queues.q]\nconcurrency = 0")
    done = lq.cli("apply", "e.toml")
    assert done.code == 2
    assert "concurrency" in done.stderr


def test_what_nobody_set_is_left_to_the_other_daemon(start: Start) -> None:
    lq = start()
    lq.client.pause("q")
    text = exported(lq)
    assert not {"concurrency", "retry", "timeout"} & {
        line.split(" ")[0] for line in text.split("\n")
    }
    other = start("[dispatch]\nqueue_concurrency = 3", name="other")
    applied(other, text)
    assert other.client.queue("q")["concurrency"] == 3
    assert "concurrency" in other.client.queue("q")["defaults"]


def test_what_lq_toml_sets_is_left_to_it(start: Start) -> None:
    lq = start('[queues.mail]\nconcurrency = 2\ntarget = "https://example.com/"')
    text = exported(lq)
    assert "concurrency" not in text
    assert "target" not in text
    assert words(applied(lq, text)) == {"unchanged"}
