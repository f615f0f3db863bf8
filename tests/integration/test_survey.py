"""What is told of endpoints over the API; checks by hand, what they find and what they let go."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lq.config import BreakerConfig, Validate
from lq.daemon.embedded import Embedded
from lq.daemon.main import Daemon
from lq.errors import Unavailable
from lq.model import ById, QueueEdit, QueueSettings, RetryPolicy, Scope, State
from lq.when import format_instant
from tests.clock import FakeClock
from tests.integration.api.given import token
from tests.integration.api.raw import Answer, Peer
from tests.support.handler import Gate, answers
from tests.support.home import Home, heard, reaches

MINUTE, HOUR = 60_000, 3_600_000


def owner_of(home: Home) -> Peer:
    """Whoever may open the unix socket."""
    return Peer(socket_path=str(home.folder / "socket"))


async def listed(peer: Peer, query: str = "") -> list[dict[str, Any]]:
    answer = await peer.ask(f"GET endpoints{query}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["endpoints"]
    return found


async def checked(peer: Peer, **members: str) -> Answer:
    return await peer.ask("POST endpoints/check", body=json.dumps(members).encode())


async def held(daemon: Daemon, home: Home, path: str, **push: Any) -> str:
    """Push a job; its id, once its endpoint has been found wanting."""
    with daemon.events.subscribe() as events:
        job = (await daemon.engine.push(home.push(path, **push))).job
        await heard(events, "release", job.id)
    return job.id


async def ran(daemon: Daemon, home: Home, path: str, **push: Any) -> None:
    job = (await daemon.engine.push(home.push(path, **push))).job
    await reaches(daemon, job.id, State.COMPLETED)


async def test_each_endpoint_is_listed_with_what_is_known_of_it(
    home: Home, clock: FakeClock
) -> None:
    home.handler.on_head("/bad", answers(404))
    queues = {
        "free": QueueSettings(validate="none"),
        "idle": QueueSettings(target=home.handler.url("/idle")),
    }
    async with home.daemon(queues=queues) as daemon:
        peer = owner_of(home)
        await ran(daemon, home, "/good", headers={"Authorization": "Bearer canary"})
        began = clock.now()
        clock.advance(MINUTE)
        await held(daemon, home, "/bad", queue="mail")
        await ran(daemon, home, "/free", queue="free")
        made = await peer.ask(
            "POST schedules", "x-lq-schedule: 30 2 * * *", "x-lq-queue: ops", "x-lq-key: nightly",
            f"x-lq-target: {home.handler.url('/nightly')}",
        )  # fmt: skip
        assert made.status == 201
        bad, idle, nightly, good, free = await listed(peer)
        url, now = home.handler.url, clock.now()
        assert bad == {
            "url": url("/bad"), "queues": ["mail"], "state": "invalid",
            "fault": "HEAD answered 404, not 2xx", "since": format_instant(now),
            "checked": format_instant(now), "nextCheck": format_instant(now + 30_000),
        }  # fmt: skip
        assert idle == {"url": url("/idle"), "namedBy": ["queue idle"], "state": "unknown"}
        assert nightly == {
            "url": url("/nightly"), "namedBy": ["schedule nightly"], "state": "unknown"
        }  # fmt: skip
        assert good == {
            "url": url("/good"), "headers": ["Authorization"], "queues": ["q"],
            "state": "validated", "since": format_instant(began), "checked": format_instant(began),
            "nextCheck": format_instant(began + HOUR),
        }  # fmt: skip
        assert free == {
            "url": url("/free"), "queues": ["free"], "state": "exempt",
            "exemptBy": 'its queue has validate = "none"',
        }  # fmt: skip
        limited = (await peer.ask("GET endpoints?limit=2")).json
        assert ([one["url"] for one in limited["endpoints"]], limited["leftOut"]) == (
            [url("/bad"), url("/idle")], 3,
        )  # fmt: skip
        assert [one["url"] for one in await listed(peer, "?queue=mail")] == [url("/bad")]
        await peer.close()


async def test_what_is_good_stays_good_since_it_began(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    peer = owner_of(home)
    began = clock.now()
    await ran(daemon, home, "/")
    clock.advance(MINUTE)
    one = (await checked(peer, url=home.handler.url("/"))).json
    assert (one["since"], one["checked"]) == (format_instant(began), format_instant(clock.now()))
    home.handler.on_head("/", answers(500), home.handler.signs)
    clock.advance(MINUTE)
    assert (await checked(peer, url=home.handler.url("/"))).json["since"] == format_instant(
        clock.now()
    )
    clock.advance(MINUTE)
    one = (await checked(peer, url=home.handler.url("/"))).json
    assert (one["state"], one["since"]) == ("validated", format_instant(clock.now()))
    await peer.close()


async def test_a_token_of_some_queues_sees_what_they_use(home: Home) -> None:
    queues = {
        "mail-in": QueueSettings(target=home.handler.url("/shared")),
        "shop": QueueSettings(target=home.handler.url("/shared")),
        "other": QueueSettings(target=home.handler.url("/other")),
        "shop-free": QueueSettings(validate="none"),
    }
    async with home.daemon(queues=queues) as daemon:
        for queue in ("mail-out", "shop", "shop-free"):
            await ran(daemon, home, "/met", queue=queue)
        await ran(daemon, home, "/hidden", queue="shop")
        admin = frozenset({Scope.ADMIN})
        _, plain = await daemon.engine.create_token("owner", admin, (), None)
        owner = Peer(port=daemon.port, token=plain)
        reader = await token(owner, "read", queues=("mail-*",))
        shared, met = await listed(reader)
        assert "shop" not in str((shared, met))
        assert (shared["url"], shared["namedBy"]) == (
            home.handler.url("/shared"),
            ["queue mail-in"],
        )
        assert (met["url"], met["queues"]) == (home.handler.url("/met"), ["mail-out"])
        assert (await reader.ask("GET endpoints?queue=shop")).status == 403
        assert (await checked(reader, url=home.handler.url("/met"))).status == 403
        limited = await token(owner, "admin", queues=("mail-*",))
        assert (await checked(limited, url=home.handler.url("/met"))).status == 403
        assert (await (await token(owner, "push")).ask("GET endpoints")).status == 403
        await owner.close()


async def test_a_check_finds_what_has_changed(daemon: Daemon, home: Home) -> None:
    """A bad answer holds jobs, a good one lets them be called, without waiting for a call."""
    peer, url = owner_of(home), home.handler.url("/")
    await ran(daemon, home, "/")
    home.handler.on_head("/", answers(500), home.handler.signs)
    one = (await checked(peer, url=url)).json
    assert (one["state"], one["fault"]) == ("invalid", "HEAD answered 500, not 2xx")
    await held(daemon, home, "/")
    assert (await checked(peer, url=url)).json["state"] == "validated"
    await ran(daemon, home, "/")
    assert len(home.handler.validations) == 3
    await peer.close()


async def test_held_items_go_at_once_when_a_check_finds_it_good(home: Home) -> None:
    """No time passes: those that were held, those behind them, and a fifo queue in its order."""
    home.handler.on_head("/", answers(404), answers(404), home.handler.signs)
    queues = {"fifo": QueueSettings(fifo=True)}
    async with home.daemon(queues=queues) as daemon:
        peer, url = owner_of(home), home.handler.url("/")
        jobs = [await held(daemon, home, "/", queue=queue) for queue in ("q", "fifo")]
        more = [(await daemon.engine.push(home.push("/"))).job.id for _ in range(60)]
        later = (await daemon.engine.push(home.push("/", delay_ms=HOUR))).job
        behind = (await daemon.engine.push(home.push("/", queue="fifo"))).job
        assert (await checked(peer, url=url)).json["state"] == "invalid"
        assert home.handler.calls == []
        assert (await checked(peer, url=url)).json["state"] == "validated"
        for job_id in (*jobs, *more, behind.id):
            await reaches(daemon, job_id, State.COMPLETED)
        fifo = [call.job_id for call in home.handler.calls if call.headers["x-lq-queue"] == "fifo"]
        assert fifo == [jobs[1], behind.id]
        kept = await daemon.engine.get(ById(later.id))
        assert (kept.state, kept.due_at) == (State.PENDING, later.due_at)
        await peer.close()


async def test_what_another_endpoint_or_a_retry_waits_for_stays(
    home: Home, clock: FakeClock
) -> None:
    home.handler.on_head("/bad", answers(404))
    home.handler.on_head("/worse", answers(404))
    home.handler.on("/", answers(500))
    async with home.daemon() as daemon:
        peer = owner_of(home)
        with daemon.events.subscribe() as events:
            retried = (await daemon.engine.push(home.push("/"))).job
            await heard(events, "fail", retried.id)
        other = await held(daemon, home, "/worse")
        bad = await held(daemon, home, "/bad")
        waiting = {job: (await daemon.engine.get(ById(job))).due_at for job in (retried.id, other)}
        home.handler.on_head("/bad", home.handler.signs)
        for path in ("/bad", "/"):
            assert (await checked(peer, url=home.handler.url(path))).json["state"] == "validated"
        await reaches(daemon, bad, State.COMPLETED)
        for job_id, due_at in waiting.items():
            job = await daemon.engine.get(ById(job_id))
            assert (job.state, job.due_at) == (State.PENDING, due_at)
            assert due_at > clock.now()
        await peer.close()


async def test_a_check_asks_with_each_set_of_headers(daemon: Daemon, home: Home) -> None:
    peer, url = owner_of(home), home.handler.url("/")
    await ran(daemon, home, "/", headers={"x": "1"})
    await ran(daemon, home, "/", headers={"x": "2"}, queue="other")
    assert (await checked(peer, url=url)).json["headers"] == ["x"]
    assert sorted(head.headers["x"] for head in home.handler.validations) == ["1", "1", "2", "2"]
    await checked(peer, url=url, queue="other")
    assert home.handler.validations[-1].headers["x"] == "2"
    assert len(home.handler.validations) == 5
    await peer.close()


async def test_what_nobody_has_called_is_asked_as_its_queue_would(home: Home) -> None:
    queues = {
        "mail": QueueSettings(headers={"x-team": "mail"}),
        "free": QueueSettings(validate="none"),
    }
    async with home.daemon(queues=queues):
        peer, url = owner_of(home), home.handler.url("/new")
        one = (await checked(peer, url=url, queue="mail")).json
        assert (one["state"], one["headers"], one["queues"]) == ("validated", ["x-team"], ["mail"])
        assert home.handler.validations[-1].headers["x-team"] == "mail"
        one = (await checked(peer, url=home.handler.url("/other"))).json
        assert (one["state"], "queues" in one) == ("validated", False)
        one = (await checked(peer, url=home.handler.url("/free"), queue="free")).json
        assert (one["state"], "fault" in one, "checked" in one) == ("exempt", False, True)
        assert len(await listed(peer)) == 3
        await peer.close()


async def test_a_breaker_and_a_retry_after_are_shown_and_forgotten(
    home: Home, clock: FakeClock
) -> None:
    home.handler.on("/down", answers(500), answers(200))
    home.handler.on("/busy", answers(503, headers={"Retry-After": "3600"}))
    free, strict = Validate(default="none"), BreakerConfig(failures=1)
    async with home.daemon(validate=free, breaker=strict) as daemon:
        peer = owner_of(home)
        down = (await daemon.engine.push(home.push("/down", retry=RetryPolicy(0)))).job
        await reaches(daemon, down.id, State.FAILED)
        with daemon.events.subscribe() as events:
            busy = (await daemon.engine.push(home.push("/busy"))).job
            await heard(events, "fail", busy.id)
        first, second = await listed(peer)
        assert first["slowed"] == {
            "until": format_instant(clock.now() + HOUR),
            "reason": "the target answered 503 and asked to wait",
        }
        assert second["spared"]["until"] == format_instant(clock.now() + 5_000)
        assert "keeps failing (status 500)" in second["spared"]["reason"]
        assert "slowed" not in (await checked(peer, url=first["url"])).json
        with daemon.events.subscribe() as events:
            spared = (await daemon.engine.push(home.push("/down"))).job
            await heard(events, "release", spared.id)
        assert "spared" not in (await checked(peer, url=second["url"])).json
        await reaches(daemon, spared.id, State.COMPLETED)
        await peer.close()


async def test_one_that_is_being_asked_is_not_asked_twice(daemon: Daemon, home: Home) -> None:
    peer, url = owner_of(home), home.handler.url("/")
    gate = Gate(home.handler.signs)
    home.handler.on_head("/", gate)
    asked = [asyncio.create_task(checked(peer, url=url)) for _ in range(5)]
    await home.handler.validated(1)
    pushed = asyncio.create_task(ran(daemon, home, "/"))
    one = (await listed(peer))[0]
    assert one["state"] == "unknown"
    gate.open()
    assert {(await one).json["state"] for one in asked} == {"validated"}
    await pushed
    assert len(home.handler.validations) == 1
    await peer.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b'{"url": 7}', 400),
        (b'{"url": "", "queue": "q"}', 400),
        (b'{"url": "not a url"}', 400),
        (b'{"url": "ftp://example.com/"}', 400),
        (b'{"url": "scriptlet:backup"}', 400),
        (b'{"url": "http://example.com/", "queue": "a/items"}', 400),
        (b'{"url": "http://example.com/", "headers": {}}', 400),
        (b'{"url": "http://169.254.169.254/latest"}', 422),
        (b'{"url": "http://127.0.0.1:1/"}', 422),
    ],
)
async def test_what_may_not_be_asked_is_not(
    daemon: Daemon, home: Home, body: bytes, status: int
) -> None:
    peer = owner_of(home)
    assert (await peer.ask("POST endpoints/check", body=body)).status == status
    assert await listed(peer) == []
    await peer.close()


async def test_a_server_that_is_gone_is_a_fault(home: Home) -> None:
    async with home.daemon() as daemon:
        peer = owner_of(home)
        home.handler.on_head("/", answers(200))
        await daemon.engine.queues.edit("q", QueueEdit(target=home.handler.url("/")))
        one = (await checked(peer, url=home.handler.url("/"), queue="q")).json
        assert (one["state"], one["namedBy"]) == ("invalid", ["queue q"])
        assert one["fault"] == "HEAD answered 200 with no x-lq-signature header"
        await peer.close()


async def test_an_embedded_lq_has_no_endpoints(home: Home, clock: FakeClock) -> None:
    lq = Embedded(home.folder / "lq.db", {}, home.config, clock)
    await lq.open()
    with pytest.raises(Unavailable, match="no endpoints"):
        await lq.core.engine.survey.all()
    with pytest.raises(Unavailable, match="no endpoints"):
        await lq.core.engine.survey.check("handler:mail", None)
    await lq.close()
