"""What lq gives to the tests of apps, used as they would use it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import pytest

from lq import Fail, Job, Orchestrator, PayloadError, Queue, Retry, testing
from lq.errors import ConfigError
from tests.support.app import serving

LATER: Any = {"target": "http://127.0.0.1:9/", "delay": "1h"}


class Welcome(TypedDict):
    name: str
    age: int


def welcome() -> tuple[Queue[Welcome], list[Job[Welcome]]]:
    queue = Queue[Welcome]("wel/come", path="/welcome", secret=testing.SECRET)
    jobs: list[Job[Welcome]] = []

    @queue.handler
    async def handle(job: Job[Welcome]) -> dict[str, str]:
        jobs.append(job)
        match job.payload["name"]:
            case "":
                raise Fail("no name")
            case "later":
                raise Retry("busy", after="10m")
            case "odd":
                raise ValueError("odd")
        return {"sent to": job.payload["name"]}

    return queue, jobs


# -- calls ---------------------------------------------------------------------------------------


async def test_a_handler_is_called_with_a_job() -> None:
    queue, jobs = welcome()
    at = datetime(2026, 12, 1, 9, tzinfo=UTC)
    told: dict[str, Any] = {"key": "user/1 é", "attempt": 2, "schedule": "sch_1", "missed": 3}
    expected = testing.Result(200, {"sent to": "Ada"})
    ada: Welcome = {"name": "Ada", "age": 36}
    assert testing.call(queue, ada, fire_time=at, **told) == expected
    assert await testing.call_async(queue, ada, fire_time=at, **told) == expected
    for job in jobs:
        assert (job.payload, job.queue, job.attempt, job.missed) == (ada, "wel/come", 2, 3)
        assert (job.key, job.schedule, job.fire_time) == ("user/1 é", "sch_1", at)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("", testing.Result(422, error="no name", is_final=True)),
        ("later", testing.Result(500, error="busy", retry_after=600)),
        ("odd", testing.Result(500, error="ValueError: odd")),
    ],
)
def test_how_a_handler_ends(name: str, result: testing.Result) -> None:
    queue, _ = welcome()
    assert testing.call(queue, {"name": name, "age": 1}) == result


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("secret", "another secret"),
        ("body", "another secret, or for another body"),
        ("stale", "too far from now"),
        ("future", "too far from now"),
        ("missing", "there is no x-lq-signature"),
        ("malformed", "not of the form"),
    ],
)
def test_wrong_signatures_are_refused(wrong: Any, error: str) -> None:
    queue, jobs = welcome()
    result = testing.call(queue, {"name": "Ada", "age": 36}, wrong=wrong)
    assert result.status == 401
    assert error in (result.error or "")
    assert jobs == []


def test_what_does_not_fit_is_refused_on_both_sides() -> None:
    queue, _ = welcome()
    with pytest.raises(PayloadError, match=r"payload\.age"):
        testing.call(queue, {"name": "Ada", "age": "36"})
    body = b'{"name": "Ada", "age": "36"}'
    result = testing.call(queue, body=body, content_type="application/json")
    assert (result.status, result.error) == (422, "payload.age: expected int, got str")


def test_empty_and_binary_payloads() -> None:
    queue = Queue[Any]("q", secret=testing.SECRET)
    queue.handler(lambda payload: payload)
    assert testing.call(queue) == testing.Result(204)
    assert testing.call(queue, b"\0\xff").value == b"\0\xff"
    assert testing.call(queue, "é").value == "é"


def test_a_handler_of_an_orchestrator() -> None:
    app = Orchestrator({"digest": str.upper}, secret=testing.SECRET)
    assert testing.call(app, "x", name="digest").value == "X"


async def test_a_request_for_a_test_client() -> None:
    queue, jobs = welcome()
    made = testing.signed_request(queue, {"name": "Ada", "age": 36}, job_id="job_7")
    async with serving(queue) as url:
        import aiohttp

        async with aiohttp.ClientSession() as session:
            sent = session.request(
                made.method, url + made.path, headers=made.headers, data=made.body
            )
            async with sent as answer:
                assert (answer.status, await answer.json()) == (200, {"sent to": "Ada"})
    assert jobs[0].id == "job_7"


# -- the daemon ----------------------------------------------------------------------------------


async def test_the_daemon_calls_an_app(
    lq_daemon: testing.Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in lq_daemon.environ.items():
        monkeypatch.setenv(name, value)
    queue = Queue[str]("q", path="/q")
    attempts: list[int] = []

    @queue.handler
    def third(job: Job[str]) -> str:
        attempts.append(job.attempt)
        if job.attempt < 3:
            raise Retry("not yet")
        return job.payload

    async with serving(queue) as url:
        item = await queue.push("hello", target=f"{url}/q")
        done = await lq_daemon.wait_for_async(item["id"])
    assert (done["state"], attempts) == ("COMPLETED", [1, 2, 3])


def test_code_that_is_not_async(lq_daemon: testing.Daemon) -> None:
    item = lq_daemon.client.push("q", **LATER)
    with pytest.raises(TimeoutError, match=f"item {item['id']} is PENDING"):
        lq_daemon.wait_for(item["id"], timeout_s=0)
    assert lq_daemon.client.info()["version"]
    assert lq_daemon.client.secret()["secret"] == lq_daemon.secret


SETTINGS = """
[retry]
retries = 1
[queues.mail]
redact = ["body"]
"""


@pytest.fixture
def lq_toml(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", ""))


@pytest.mark.parametrize(
    "lq_toml", ['[retry]\nretries = 1\n[queues.mail]\nredact = ["body"]\n'], indirect=True
)
def test_its_settings(lq_daemon: testing.Daemon) -> None:
    item = lq_daemon.client.push("mail", b"canary", **LATER)
    assert item["maxAttempts"] == 2
    assert lq_daemon.client.item(item["id"])["redacted"]


def test_settings_that_are_wrong() -> None:
    with pytest.raises(ConfigError, match="unknown key"), testing.running("nonsense = 1"):
        pass


def test_two_at_once_know_nothing_of_each_other() -> None:
    with testing.running() as one, testing.running() as two:
        item = one.client.push("q", **LATER)
        assert two.client.items()["items"] == []
        assert one.client.items()["items"][0]["id"] == item["id"]
        assert one.secret != two.secret


_APP_TESTS = """
import pytest
from lq import Queue, testing

def test_plain(lq_daemon):
    assert lq_daemon.client.queues() == []

def test_call():
    queue = Queue("q", secret=testing.SECRET)
    queue.handler(lambda payload: payload)
    assert testing.call(queue, 1).value == 1
"""


def test_the_fixture_is_there_for_any_app(tmp_path: Path) -> None:
    """In a pytest of its own, without any plugin but ours."""
    (tmp_path / "test_app.py").write_text(_APP_TESTS)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-W", "error", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr


_WHAT_IT_LOADS = """
import sys, pytest
before = set(sys.modules)
import lq.testing.plugin
print(*sorted(set(sys.modules) - before))
"""


def test_the_plugin_costs_next_to_nothing() -> None:
    python = [sys.executable, "-c", _WHAT_IT_LOADS]
    ended = subprocess.run(python, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["lq", "lq.testing", "lq.testing.plugin"]
