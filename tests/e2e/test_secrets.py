"""Secrets of the real daemon: rotated from the shell, encrypted at rest, found nowhere else."""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from lq.client import Client

from .conftest import Start
from .endpoint import FAILED, Answer, Endpoint
from .process import Daemon, Ended, wait_until
from .shell import typed

KEY = secrets.token_hex(32)
SHY = """
[secrets]
key_file = "key"
[queues.shy]
redact = ["body", "header:x-customer", "response"]
"""


def printed(done: Ended) -> str:
    assert done.code == 0, done.stderr
    return done.stdout


def sealing(daemon: Daemon, key: str = KEY) -> Daemon:
    """The daemon's folder with a key in it."""
    path = daemon.folder / "key"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(key)
    return daemon


# From the shell


def test_a_rotation_from_the_shell(lq: Daemon, endpoint: Endpoint) -> None:
    old = printed(lq.cli("secret", "show")).strip()
    rotated = lq.cli("secret", "rotate", "--overlap", "1h")
    new = printed(rotated).strip()
    assert new.startswith("lqs_")
    assert rotated.stderr.startswith("An older one is valid until ")
    assert old not in rotated.stderr
    shown = lq.cli("secret", "show")
    assert (shown.stdout, shown.stderr) == (f"{new}\n", rotated.stderr)
    both = json.loads(printed(lq.cli("secret", "show", "--json")))
    assert (both["secret"], [entry["secret"] for entry in both["older"]]) == (new, [old])
    whsec = printed(lq.cli("secret", "show", "--webhook")).strip()
    assert whsec == both["webhookSecret"]

    lq.client.push("q", b"{}", target=endpoint.url())  # which knows the old one alone
    call = endpoint.next()
    assert call.attempt == 1
    for secret in (whsec, both["older"][0]["webhookSecret"]):
        Webhook(secret).verify(call.body, dict(call.headers))

    lq.kill()  # and the overlap goes on
    assert json.loads(printed(lq.start().cli("secret", "show", "--json"))) == both
    done = lq.cli("secret", "revoke-old")
    assert (done.stdout, done.stderr) == (f"{new}\n", "")
    assert lq.secret() == new


def test_people_are_shown_the_older_ones_too(lq: Daemon) -> None:
    old = lq.secret()
    seen = typed(lq, "secret", "rotate")
    assert seen.code == 0
    new, older, *hint = seen.lines
    assert new.startswith("lqs_")
    assert older.startswith(f"{old} is valid until ")
    assert older.endswith("(in 1 day)")
    assert "lq secret revoke-old" in " ".join(hint)
    assert typed(lq, "secret", "show", "--webhook").lines[1].startswith("whsec_")


@pytest.mark.parametrize("overlap", ["24", "91d", "-1h", "soon"])
def test_an_overlap_that_is_none(lq: Daemon, overlap: str) -> None:
    before = lq.secret()
    assert lq.cli("secret", "rotate", "--overlap", overlap).code == 2
    assert lq.secret() == before


def test_a_fourth_secret_is_a_conflict(lq: Daemon) -> None:
    for _ in range(2):
        printed(lq.cli("secret", "rotate"))
    refused = lq.cli("secret", "rotate")
    assert refused.code == 5
    assert "3 secrets are live" in refused.stderr
    assert "revoke-old" in refused.stderr


# At rest


def test_nobody_else_can_read_anything(start: Start) -> None:
    daemon = start(umask=0)
    daemon.client.push("q", b"1", target="https://example.com/", delay_ms=3_600_000)
    daemon.client.rotate_secret()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in daemon.data.iterdir()}
    assert modes.keys() >= {"lq.db", "lq.db-wal", "lq.db-shm", "lq.lock", "lq.sock", "secret"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o700


def test_a_plain_secret_is_encrypted_at_the_next_start(start: Start, endpoint: Endpoint) -> None:
    daemon = sealing(start(SHY, start=False)).start()
    daemon.wait_for("is encrypted now")
    assert endpoint.secret not in (daemon.data / "secret").read_text()
    assert daemon.client.secret()["secret"] == endpoint.secret
    daemon.client.rotate_secret()
    before = daemon.client.secret()
    assert daemon.stop().code == 0
    daemon.start()
    assert daemon.client.secret() == before
    assert "is encrypted now" not in daemon.stderr
    daemon.client.push("q", b"1", target=endpoint.url())
    assert endpoint.next().attempt == 1


@pytest.mark.parametrize("key", [secrets.token_hex(32), None], ids=["another key", "no key"])
def test_the_key_is_changed_or_given_up_as_the_guide_says(start: Start, key: str | None) -> None:
    daemon = sealing(start(SHY, start=False)).start()
    printed(daemon.cli("secret", "rotate", "--overlap", "1h"))
    before = json.loads(printed(daemon.cli("secret", "show", "--json")))
    lines = [f"{older['secret']} until {older['until']}" for older in before["older"]]
    plain = "\n".join([before["secret"], *lines]) + "\n"
    assert daemon.stop().code == 0
    (daemon.data / "secret").write_text(plain)
    if key is None:
        (daemon.folder / "key").unlink()
        file = daemon.folder / "lq.toml"
        file.write_text(file.read_text().replace('key_file = "key"', ""))
    else:
        sealing(daemon, key)
    daemon.start()
    assert json.loads(printed(daemon.cli("secret", "show", "--json"))) == before
    content = (daemon.data / "secret").read_text()
    assert content == plain if key is None else content.startswith("lq-sealed-1:")
    assert daemon.stop().code == 0


@pytest.mark.parametrize(
    ("key", "config", "says"),
    [
        (secrets.token_hex(32), SHY, "this key does not open the signing secret"),
        (KEY, "", "is encrypted, and no key is configured"),
        (KEY, '[secrets]\nkey_file = "none"', "[secrets] key_file: cannot read"),
        (KEY, '[secrets]\ncredential = "lq"', "there is no $CREDENTIALS_DIRECTORY"),
        ("short", SHY, "expected 32 bytes"),
    ],
)
def test_without_the_right_key_it_does_not_start(
    start: Start, key: str, config: str, says: str
) -> None:
    daemon = sealing(start(SHY, start=False)).start()
    assert daemon.stop().code == 0
    sealed = (daemon.data / "secret").read_bytes()
    sealing(daemon, key)
    file = daemon.folder / "lq.toml"
    file.write_text(file.read_text().replace(SHY, config))
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    assert says in ended.stderr
    assert "hint: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert key not in ended.stderr
    assert (daemon.data / "secret").read_bytes() == sealed


def test_a_credential_of_systemd_is_a_key(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "lq-key").write_text(KEY)
    environ = {"CREDENTIALS_DIRECTORY": str(folder)}
    daemon = start('[secrets]\ncredential = "lq-key"', environ=environ)
    assert (daemon.data / "secret").read_text().startswith("lq-sealed-1:")


# Nowhere else


def spoken(daemon: Daemon) -> Iterator[bytes]:
    """All that anybody on this machine, or without a token, can learn of a running daemon."""
    yield daemon.stderr.encode()
    for name in ("cmdline", "environ"):
        yield Path(f"/proc/{daemon.pid}/{name}").read_bytes()
    for pid in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split():
        yield Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/api/v1/secret"):
        with closing(HTTPConnection(daemon.url.removeprefix("http://"))) as connection:
            connection.request("GET", path)
            yield connection.getresponse().read()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_what_is_secret_is_found_nowhere(start: Start, endpoint: Endpoint) -> None:
    daemon = sealing(start(SHY, start=False, environ={"LQ_LOG_LEVEL": "debug"})).start()
    endpoint.on("/fails", lambda _: Answer(500, b"said-canary", {"x-lq-retry": "no"}))
    endpoint.on("/later", lambda _: FAILED)
    token = daemon.client.create_token("web", ["admin"])["token"]
    remote = Client(daemon.url, token, retries=0)
    private = {"Authorization": "Bearer header-canary", "X-Customer": "header-canary"}
    ids = []
    for path in ("/", "/fails", "/later"):
        pushed = remote.push("shy", b"body-canary", target=endpoint.url(path), headers=private)
        ids.append(pushed["id"])
        assert endpoint.next().body == b"body-canary"
        wait_until(lambda: remote.attempts(ids[-1])[-1].get("ms") is not None)
    remote.rotate_secret(60_000)
    endpoint.secret = "lqs_canary-another"
    held = remote.push("shy", b"body-canary", target=endpoint.url("/held"), headers=private)
    wait_until(lambda: "not validated" in remote.item(held["id"]).get("error", ""))
    known = remote.secret()
    said = list(spoken(daemon))
    for arguments in (
        *(("items", "show", job) for job in ids),
        *(("items", "show", "--json", job) for job in ids),
        ("items", "ls", "--json"),
        ("history", "--json"),
        ("queues", "ls", "--json"),
        ("queues", "show", "shy"),
        ("tokens", "ls", "--json"),
        ("doctor", "--json"),
        ("push", "--queue", "shy", "--data", "body-canary", "--header", "X-Customer: a-canary"),
        ("push", "--queue", "shy", "--data", "body-canary", "--target", "nowhere"),
    ):
        done = daemon.cli(*arguments)
        said.append(f"{done.stdout}{done.stderr}".encode())
    daemon.kill()
    daemon.start()
    said += spoken(daemon)
    assert daemon.stop().code == 0
    said.append(daemon.stderr.encode())
    older = [entry[form] for entry in known["older"] for form in ("secret", "webhookSecret")]
    forbidden = ["-canary", token, KEY, known["secret"], known["webhookSecret"], *older]
    for text in said:
        assert [word for word in forbidden if word.encode() in text] == []
    on_disk = (daemon.data / "secret").read_bytes() + daemon.database.read_bytes()
    for word in (token, KEY, known["secret"], *older):
        assert word.encode() not in on_disk
