"""Callbacks over the socket: the token is all that counts, and nothing is said of a wrong one."""

from __future__ import annotations

import logging
import re
from urllib.parse import urlsplit

import pytest

from lq.daemon.main import Daemon

from .conftest import Door
from .described import DOCUMENT
from .given import make, without_id
from .handler import Handler
from .raw import Peer

BY_CALLBACK = "x-lq-completion: callback"


async def path_of(api: Peer, handler: Handler) -> str:
    """Where the handler of a new item is to call back."""
    handler.answers.append((202, b""))
    pushed = await api.ask("POST queues/q/items", f"x-lq-target: {handler.url}", BY_CALLBACK)
    assert (pushed.status, pushed.json["completion"]) == (201, "callback")
    call = await handler.calls.get()
    return urlsplit(call.headers["x-lq-callback"].decode()).path


async def test_the_token_needs_no_other(api: Peer, handler: Handler) -> None:
    path = await path_of(api, handler)
    stranger = api.having("lq_wrong")
    beat = await stranger.ask(f"POST {path}/heartbeat")
    assert (beat.status, beat.json["state"]) == (200, "RUNNING")
    done = await api.having("").ask(f"POST {path}/complete", body=b"x")
    assert (done.status, done.json["state"]) == (200, "COMPLETED")
    assert (await stranger.ask(f"POST {path}/complete")).status == 409
    item = await api.ask(f"GET items/{done.json['id']}")
    assert item.json["completion"] == "callback"


HOSTILE = [
    "x",
    "..",
    "%00",
    "job_1.1.",
    "job_1.1." + "0" * 64,
    "job_1.1." + "0" * 63 + "%0a",
    "job_1." + "f" * 17 + "." + "0" * 64,
    "." * 3000,
    "%ff" * 100,
    "'; DROP TABLE runs; --",
]


@pytest.mark.parametrize("token", [one.replace(" ", "%20") for one in HOSTILE])
@pytest.mark.parametrize("verb", ["complete", "fail", "heartbeat"])
async def test_a_wrong_token_learns_nothing(api: Peer, token: str, verb: str) -> None:
    nobody = api.having("")
    nothing = await nobody.ask("POST /api/v1/callbacks/nothing")
    answer = await nobody.ask(f"POST /api/v1/callbacks/{token}/{verb}", "x-lq-dealy: 1", body=b"x")
    assert answer.status == 404
    assert without_id(answer) == without_id(nothing)


async def test_a_token_that_was_changed_is_a_wrong_one(api: Peer, handler: Handler) -> None:
    path = await path_of(api, handler)
    base, _, token = path.rpartition("/")
    job, run, proof = token.split(".")
    other = "0" if proof[-1] != "0" else "1"
    wrong = [
        f"{job}.{run}.{proof[:-1]}{other}",
        f"{job}.{int(run, 16) + 1:x}.{proof}",
        f"{job}.0{run}.{proof}",
        f"{job[:-1]}.{run}.{proof}",
        f"{job}.{run}.{proof.upper()}X",
        f"{job}.{run}.{proof}.{proof}",
    ]
    for one in wrong:
        assert (await api.ask(f"POST {base}/{one}/complete", body=b"x")).status == 404
    assert (await api.ask(f"POST {path}/complete")).status == 200


async def test_what_a_failure_may_say_is_described(api: Peer, handler: Handler) -> None:
    path = await path_of(api, handler)
    refused = await api.ask(f"POST {path}/fail", "x-lq-9999999999: 1")
    assert "known are x-lq-retry" in refused.json["message"]
    operation = DOCUMENT["paths"]["/api/v1/callbacks/{token}/fail"]["post"]
    named = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
    assert named == {"x-lq-retry", "Retry-After"}


async def test_only_posts_are_callbacks(api: Peer, handler: Handler) -> None:
    path = await path_of(api, handler)
    for method in ("GET", "PUT", "DELETE"):
        answer = await api.having("").ask(f"{method} {path}/complete")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert (await api.having("").ask(f"POST {path}")).status == 404
    assert (await api.ask(f"POST {path}/complete?x=1")).issues == ["x"]


async def test_a_result_is_no_larger_than_a_payload(
    api: Peer, handler: Handler, running: Daemon
) -> None:
    path = await path_of(api, handler)
    large = bytes(running.engine.max_payload + 1)
    assert (await api.ask(f"POST {path}/complete", body=large)).status == 413
    assert (await api.ask(f"POST {path}/complete", body=large[1:])).status == 200


async def test_who_guesses_tokens_is_stopped(door: Door) -> None:
    peer = (await door(refused=5)).having("")
    path = "/api/v1/callbacks/job_1.1." + "0" * 64
    said = [(await peer.ask(f"POST {path}/complete")).status for _ in range(7)]
    assert said == [404] * 5 + [429] * 2


async def test_no_token_is_written_into_the_log(
    api: Peer, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = await path_of(api, handler)
    proof = path.rpartition(".")[2]
    assert re.fullmatch("[0-9a-f]{64}", proof)
    await api.ask(f"POST {path}/heartbeat")
    item = (await api.ask(f"POST {path}/fail", body=b"no")).json["id"]
    shown = [await api.ask(f"GET items/{item}{more}") for more in ("", "/attempts")]
    assert proof not in caplog.text
    assert "/api/v1/callbacks/..." in caplog.text
    assert all(proof.encode() not in answer.body for answer in shown)


async def test_an_item_for_elsewhere_names_the_key_that_is_missing(api: Peer) -> None:
    target = "x-lq-target: https://example.com/hook"
    refused = await api.ask("POST queues/q/items", target, BY_CALLBACK)
    assert refused.issues == ["x-lq-completion"]
    assert "public_url" in refused.json["message"]
    nightly = ("x-lq-schedule: @daily", "x-lq-queue: q", target, BY_CALLBACK)
    assert (await api.ask("POST schedules", *nightly)).issues == ["x-lq-completion"]


async def test_a_schedule_of_items_that_are_called_back(api: Peer, handler: Handler) -> None:
    made = await make(api, "x-lq-key: k", BY_CALLBACK.replace("callback", "response"))
    assert "completion" not in (await api.ask(f"GET schedules/{made.json['id']}")).json
    here = (f"x-lq-target: {handler.url}", BY_CALLBACK)
    edited = await api.ask(f"PATCH schedules/{made.json['id']}", *here)
    assert edited.status == 200
    shown = await api.ask(f"GET schedules/{made.json['id']}")
    assert shown.json["completion"] == "callback"
    item = await api.ask(f"POST schedules/{made.json['id']}/run")
    assert item.json["completion"] == "callback"
    call = await handler.calls.get()
    path = urlsplit(call.headers["x-lq-callback"].decode()).path
    assert (await api.ask(f"POST {path}/complete")).status == 200
