"""`lq alerts`, and what lq.toml may say of them, with the real process."""

from __future__ import annotations

import json

import pytest

from lq.client import ApiError, Client

from .conftest import Start
from .endpoint import FAILED, Answer, Call, Endpoint
from .process import Daemon, wait_until
from .shell import typed


def alerting(endpoint: Endpoint, *more: str) -> str:
    """An lq.toml that tells the endpoint."""
    target = endpoint.url("/hook/secret-path")
    return "\n".join(["[[alerts]]", 'name = "ops"', f'target = "{target}"', *more])


def message(endpoint: Endpoint) -> dict[str, object]:
    while True:
        call = endpoint.next()
        if call.path == "/hook/secret-path":
            found: dict[str, object] = json.loads(call.body)
            return found


def test_alerts_are_listed_with_what_is_wrong(start: Start, endpoint: Endpoint) -> None:
    lq = start(alerting(endpoint, 'queues = ["mail"]', 'digest = "0s"'))
    seen = typed(lq, "alerts", "ls", width=160)
    assert seen.lines[0].split() == ["NAME", "STATE", "TELLS", "OF", "IN", "TO", "LAST", "SENT"]
    assert "all well" in seen.lines[1]
    assert "secret-path" not in seen.text
    endpoint.on("/mail", lambda _: FAILED)
    pushed = lq.client.push("mail", b"", target=endpoint.url("/mail"), retry="0")
    told = message(endpoint)
    assert str(told["text"]).endswith(f"[{pushed['id']}]")
    wait_until(lambda: "queue mail: failed 1 time" in lq.cli("alerts", "ls").stdout)
    [alert] = json.loads(lq.cli("alerts", "ls", "--json").stdout)
    assert (alert["name"], alert["wrong"][0]["subject"]) == ("ops", "queue mail")
    assert alert["target"] == f"{endpoint.url('').rstrip('/')}/…"
    assert lq.cli("alerts", "ls", "-q").stdout == "ops\n"


def test_a_test_takes_the_way_of_a_message(start: Start, endpoint: Endpoint) -> None:
    lq = start(alerting(endpoint))
    done = lq.cli("alerts", "test", "ops", "--wait")
    assert (done.code, done.stdout[:4]) == (0, "job_")
    assert "Nothing is wrong" in str(message(endpoint)["text"])
    item = lq.client.history(queue="alerts")["items"][0]
    assert (item["target"]["url"], item["type"]) == ("alert:ops", "ALERT")
    unknown = lq.cli("alerts", "test", "other")
    assert (unknown.code, "lq.toml has these: ops" in unknown.stderr) == (3, True)


def test_who_may_see_and_try_alerts(start: Start, endpoint: Endpoint) -> None:
    lq = start(alerting(endpoint))
    reader = lq.client.create_token("reader", ["read"])["token"]
    limited = lq.client.create_token("limited", ["read"], ["mail"])["token"]
    assert [alert["name"] for alert in Client(lq.url, reader).alerts()] == ["ops"]
    with pytest.raises(ApiError, match="limited to its queues"):
        Client(lq.url, limited).alerts()
    with pytest.raises(ApiError, match="lacks the scope admin"):
        Client(lq.url, reader).test_alert("ops")


def test_nobody_pushes_to_an_alert(start: Start, endpoint: Endpoint) -> None:
    lq = start(alerting(endpoint))
    done = lq.cli("push", "--queue", "q", "--target", "alert:ops")
    assert (done.code, "target" in done.stderr) == (2, True)


def test_a_change_of_the_file_is_followed(start: Start, endpoint: Endpoint) -> None:
    lq = start()
    config = lq.folder / "lq.toml"
    config.write_text(f"{config.read_text()}\n{alerting(endpoint)}\n")
    assert lq.cli("apply").code == 0
    assert lq.cli("alerts", "ls", "-q").stdout == "ops\n"
    config.write_text(config.read_text().replace(f"127.0.0.1:{endpoint.port}/", "10.0.0.1/"))
    refused = lq.cli("apply")
    assert (refused.code, "[[alerts]] ops: target" in refused.stderr) == (78, True)
    assert lq.cli("alerts", "test", "ops", "--wait").code == 0


def test_each_failure_is_told_once_through_kill_9(start: Start, endpoint: Endpoint) -> None:
    lq = start(
        alerting(endpoint, 'queues = ["mail"]', 'digest = "0s"', "", "[retry]", "retries = 9")
    )
    told: dict[str, int] = {}  # by message: one may be sent again after a kill, as any job

    def hook(call: Call) -> Answer:
        told[call.id] = sum(event["times"] for event in json.loads(call.body)["events"])
        return Answer()

    endpoint.on("/hook/secret-path", hook)
    endpoint.on("/mail", lambda _: FAILED)
    for _ in range(6):
        for _ in range(5):
            lq.client.push("mail", b"", target=endpoint.url("/mail"), retry="0")
        lq.kill()
        lq.start()
    wait_until(lambda: not lq.client.items()["items"])
    wait_until(lambda: sum(told.values()) >= 30)
    # What is told of next has been judged after all of these.
    last = lq.client.push("mail", b"", target=endpoint.url("/mail"), retry="0")["id"]
    wait_until(lambda: sum(told.values()) >= 31)
    assert sum(told.values()) == 31
    assert len(lq.client.history(queue="mail", limit=100)["items"]) == 31
    assert lq.client.item(last)["state"] == "FAILED"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('target = "https://example.com/"', "[[alerts]] name: is missing"),
        ('name = "a"', "[[alerts]] target: is missing"),
        ('name = "a"\ntarget = "ftp://x"', '[[alerts]] target: expected a URL, "scriptlet:NAME"'),
        ('name = "a b"\ntarget = "https://e.org/"', "[[alerts]] name: expected 1 to 64 letters"),
        ('name = "a"\ntarget = "https://e.org/"\non = ["late"]', '"late" needs late beside it'),
        (
            'name = "a"\ntarget = "https://e.org/"\non = ["failed"]\nlate = "5m"',
            'late: means nothing without "late" in on',
        ),
        (
            'name = "a"\ntarget = "mailto:a@example.org"\npreset = "slack"',
            "[[alerts]] preset: is for a target over HTTP alone",
        ),
        ('name = "a"\ntarget = "https://e.org/"\nstreek = 2', "unknown key, did you mean streak?"),
        ('name = "a"\ntarget = "http://e.org/"', "[[alerts]] a: target"),
        (
            'name = "a"\ntarget = "https://e.org/"\n[[alerts]]\nname = "a"\ntarget = "https://e.org/"',
            "[[alerts]] name: 'a' is taken",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_said(
    start: Start, endpoint: Endpoint, lines: str, complaint: str
) -> None:
    lq: Daemon = start(f"[[alerts]]\n{lines}", start=False)
    lq.launch()
    refused = lq.wait()
    assert (refused.code, complaint in refused.stderr) == (78, True), refused.stderr
