"""A function that answers at once and works on, and a daemon that dies in between."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import urlsplit

from .conftest import Start
from .endpoint import Answer, Call, Endpoint
from .process import Daemon, wait_until


def call_back(daemon: Daemon, call: Call, verb: str, body: bytes) -> dict[str, str]:
    """What the function is answered, by the daemon that there is now."""
    path = urlsplit(call.headers["x-lq-callback"]).path
    request = urllib.request.Request(f"{daemon.url}{path}/{verb}", body, method="POST")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        said: dict[str, str] = json.load(answer)
        return said


def test_what_a_function_has_accepted_outlives_kill_9(start: Start, endpoint: Endpoint) -> None:
    daemon = start()
    endpoint.on("/function", lambda _: Answer(202, b""))
    push = ("push", "--queue", "q", "--target", endpoint.url("/function"))
    item = daemon.cli(*push, "--completion", "callback", "--timeout", "15m").stdout.strip()
    call = endpoint.next()
    assert call.headers["x-lq-callback"].startswith(f"{daemon.url}/api/v1/callbacks/")
    # The answer is stored, so the item is no orphan from here on.
    wait_until(lambda: [one.get("status") for one in daemon.client.attempts(item)] == [202])
    daemon.kill()
    daemon.start()
    assert daemon.client.item(item)["state"] == "RUNNING"
    beat = call_back(daemon, call, "heartbeat", b"")
    assert (beat["state"], beat["id"]) == ("RUNNING", item)
    daemon.kill()
    daemon.start()
    assert call_back(daemon, call, "complete", b'{"pages":12}')["state"] == "COMPLETED"
    daemon.kill()
    daemon.start()
    shown = daemon.client.item(item)
    assert (shown["state"], shown["attempts"], shown["lastStatus"]) == ("COMPLETED", 1, 202)
    [attempt] = daemon.client.attempts(item)
    assert (attempt["outcome"], attempt["responseBody"]) == ("succeeded", '{"pages":12}')
    assert endpoint.none_left()


def test_a_schedule_is_made_and_shown_with_what_completes_it(
    lq: Daemon, endpoint: Endpoint
) -> None:
    add = ("schedules", "add", "@daily", "--queue", "q", "--key", "k", "--json")
    made = lq.cli(*add, "--target", endpoint.url(), "--completion", "callback")
    assert made.code == 0, made.stderr
    assert lq.client.schedule("k")["completion"] == "callback"
    assert "callback" in lq.cli("schedules", "show", "k").stdout
    assert lq.cli("schedules", "edit", "k", "--completion", "response").code == 0
    assert "completion" not in lq.client.schedule("k")


def test_public_url_is_the_base_of_what_is_called_back(start: Start, endpoint: Endpoint) -> None:
    daemon = start(environ={"LQ_PUBLIC_URL": "https://lq.example.com/base/"})
    endpoint.on("/function", lambda _: Answer(202, b""))
    push = ("push", "--queue", "q", "--completion", "callback", "--target")
    assert daemon.cli(*push, endpoint.url("/function")).code == 0
    url = endpoint.next().headers["x-lq-callback"]
    assert url.startswith("https://lq.example.com/base/api/v1/callbacks/job_")
