"""Alerts of a whole daemon: told once, in the right form, whatever ends in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import SMTP, AuthResult
from msgspec.structs import replace

from lq.alerts import Kind, Preset, Rule
from lq.config import BreakerConfig, Mail, WatchConfig
from lq.daemon.main import Daemon
from lq.daemon.watch import Ping
from lq.errors import NotFound
from lq.model import (
    ById,
    Counts,
    Job,
    JobFilter,
    Misfire,
    QueueEdit,
    QueueSettings,
    RetryPolicy,
    State,
)
from tests.clock import FakeClock
from tests.support.handler import GIVE_UP_S, Call, Gate, Wire, answers, listening
from tests.support.home import Home, eventually, reaches
from tests.support.schedules import HOUR, MINUTE, SECOND, make

ONCE = RetryPolicy(0)
LATE = MINUTE * 5


def rule(home: Home, **members: Any) -> Rule:
    """A rule that tells the handler, at once."""
    plain: dict[str, Any] = {"name": "ops", "target": home.handler.url("/alert"), "digest_ms": 0}
    return Rule(**plain | members)


async def message(home: Home) -> Any:
    """The next message that reaches the receiver; other calls are passed over."""
    return json.loads((await call_of(home)).body)


async def call_of(home: Home) -> Call:
    while True:
        call = await home.handler.next()
        if call.path == "/alert":
            return call


async def gathered(daemon: Daemon, number: int) -> None:
    """Return when so much waits for the next message."""

    async def waits() -> bool:
        await daemon.engine.queues.all()
        return daemon.engine.alerts.statuses()[0].waiting == number

    await eventually(waits)


async def looked(daemon: Daemon, home: Home) -> None:
    """Let time pass until a look at what is unfinished has led to a message."""

    async def made() -> bool:
        home.clock.advance(5 * SECOND)
        return (await daemon.engine.queues.get("alerts")).counts != Counts()

    await daemon.engine.queues.edit("alerts", QueueEdit())
    await eventually(made)


async def fence(daemon: Daemon, home: Home) -> None:
    """Return when all that has ended until now was judged, and nothing was told of it."""
    home.handler.on("/fence", answers(500))
    last = await daemon.engine.push(home.push("/fence", queue="fence", retry=ONCE))
    assert [event["item"] for event in (await message(home))["events"]] == [last.job.id]


async def test_a_failure_is_told_and_so_is_its_end(home: Home) -> None:
    home.handler.on("/mail", answers(500, b"no\x1broom"), answers(200))
    async with home.daemon(alerts=(rule(home),)) as daemon:
        failing = await daemon.engine.push(home.push("/mail", queue="mail", retry=ONCE))
        said = await message(home)
        [event] = said["events"]
        assert (event["kind"], event["queue"], event["item"]) == ("failed", "mail", failing.job.id)
        assert event["error"] == "status 500: no room"
        assert said["text"] == f"queue mail failed: status 500: no room [{failing.job.id}]"
        [status] = daemon.engine.alerts.statuses()
        assert [subject for subject, _ in status.wrong] == ["queue mail"]
        await daemon.engine.push(home.push("/mail", queue="mail"))
        said = await message(home)
        assert said["text"].startswith("queue mail works again after a failure")
        assert daemon.engine.alerts.statuses()[0].wrong == ()


async def test_a_message_is_a_job_whose_receiver_is_not_shown(home: Home) -> None:
    home.handler.on("/mail", answers(500))
    home.handler.on("/alert", answers(503), answers(200))
    async with home.daemon(alerts=(rule(home, headers={"X-Key": "hook-canary"}),)) as daemon:
        await daemon.engine.push(home.push("/mail", retry=ONCE))
        first = await call_of(home)
        assert first.headers["x-key"] == "hook-canary"
        job = await reaches(daemon, first.job_id, State.PENDING)
        assert (job.queue, job.target, job.failures) == ("alerts", "alert:ops", 1)
        home.clock.advance(10 * SECOND)
        again = await call_of(home)
        assert (again.job_id, again.attempt, again.body) == (job.id, 2, first.body)
        await reaches(daemon, job.id, State.COMPLETED)


async def test_a_message_that_fails_for_good_alerts_nobody(home: Home) -> None:
    home.handler.on("/mail", answers(500))
    home.handler.on("/alert", answers(410), answers())
    async with home.daemon(alerts=(rule(home),)) as daemon:
        await daemon.engine.push(home.push("/mail", retry=ONCE))
        call = await call_of(home)
        await reaches(daemon, call.job_id, State.FAILED)
        await fence(daemon, home)


async def test_a_flood_becomes_a_digest(home: Home) -> None:
    home.handler.on("/mail", answers(500))
    unspared = BreakerConfig(failures=0)
    flood = rule(home, digest_ms=10 * MINUTE)
    async with home.daemon(alerts=(flood,), breaker=unspared) as daemon:
        await daemon.engine.push(home.push("/mail", retry=ONCE))
        assert (await message(home))["events"][0]["times"] == 1
        for number in range(30):
            await daemon.engine.push(home.push("/mail", queue=f"q{number % 3}", retry=ONCE))

        await gathered(daemon, 30)
        home.clock.advance(10 * MINUTE)
        said = await message(home)
        assert {(e["queue"], e["times"]) for e in said["events"]} == {
            ("q0", 10), ("q1", 10), ("q2", 10),
        }  # fmt: skip
        assert said["title"].endswith("and 29 more")


async def test_what_was_to_be_told_survives_a_restart(home: Home) -> None:
    home.handler.on("/mail", answers(500))
    gathering = rule(home, digest_ms=10 * MINUTE, streak=2)
    async with home.daemon(alerts=(gathering,)) as daemon:
        for _ in range(2):
            await daemon.engine.push(home.push("/mail", retry=ONCE))
        assert "2 times in a row" in (await message(home))["text"]
        await daemon.engine.push(home.push("/mail", retry=ONCE))

        await gathered(daemon, 1)
    home.clock.advance(10 * MINUTE)
    async with home.daemon(alerts=(gathering,)):
        assert "3 times in a row" in (await message(home))["text"]


async def test_times_that_were_missed_are_told(home: Home) -> None:
    async with home.daemon() as daemon:
        await make(daemon, home, "0 * * * *", key="hourly", push={"path": "/s"})
        await make(daemon, home, "0 * * * *", key="skip", misfire=Misfire.SKIP)
    home.clock.advance(5 * HOUR + 30 * MINUTE)
    watching = rule(home, schedules=("*",))
    async with home.daemon(alerts=(watching,)):
        texts: list[str] = []
        while len(texts) < 2:
            texts += [event["text"] for event in (await message(home))["events"]]
        first, second = sorted(texts)
        assert first == "schedule hourly missed 5 times; one item makes up for all of them"
        assert second.startswith("schedule skip missed 5 times, which nothing makes up for")


async def test_a_paused_queue_makes_its_items_late(home: Home) -> None:
    late = rule(home, late_ms=LATE, on=frozenset({Kind.LATE, Kind.RECOVERED}))
    async with home.daemon(alerts=(late,)) as daemon:
        await daemon.engine.queues.edit("mail", QueueEdit(paused=True))
        waiting = await daemon.engine.push(home.push("/mail", queue="mail"))
        home.clock.advance(LATE - 1)
        await looked(daemon, home)
        said = await message(home)
        assert said["events"][0]["item"] == waiting.job.id
        assert "ago has not begun" in said["text"]
        await daemon.engine.queues.edit("mail", QueueEdit(paused=False))
        await reaches(daemon, waiting.job.id, State.COMPLETED)
        await daemon.engine.push(home.push("/mail", queue="mail"))
        assert "is on time again" in (await message(home))["text"]


async def test_an_endpoint_that_is_not_validated_makes_its_items_late(home: Home) -> None:
    home.handler.on_head("/closed", answers(404))
    late = rule(home, late_ms=LATE, on=frozenset({Kind.LATE}))
    async with home.daemon(alerts=(late,)) as daemon:
        held = await daemon.engine.push(home.push("/closed", queue="mail"))
        await home.handler.validated(1)
        await looked(daemon, home)
        event = (await message(home))["events"][0]
        assert event["item"] == held.job.id
        assert "endpoint not validated: HEAD answered 404" in event["text"]


async def test_a_run_that_takes_too_long_is_told_while_it_goes_on(home: Home) -> None:
    gate = Gate()
    home.handler.on("/slow", gate)
    longer = rule(home, longer_ms=2 * MINUTE, on=frozenset({Kind.TOO_LONG, Kind.FAILED}))
    async with home.daemon(alerts=(longer,)) as daemon:
        slow = await daemon.engine.push(home.push("/slow", timeout_ms=HOUR))
        assert (await home.handler.next()).path == "/slow"
        home.clock.advance(2 * MINUTE - 1)
        await looked(daemon, home)
        assert "has been running for 2m" in (await message(home))["text"]
        home.clock.advance(2 * MINUTE)
        gate.open()
        await reaches(daemon, slow.job.id, State.COMPLETED)
        await fence(daemon, home)


async def test_an_item_that_expires_has_failed(home: Home) -> None:
    async with home.daemon(alerts=(rule(home),)) as daemon:
        await daemon.engine.queues.edit("mail", QueueEdit(paused=True))
        await daemon.engine.push(home.push(queue="mail", expires_ms=MINUTE))
        home.clock.advance(MINUTE)
        assert "failed: expired before it could start" in (await message(home))["text"]


async def test_what_a_queue_hides_is_not_told(home: Home) -> None:
    home.handler.on("/mail", answers(500, b"private"))
    hidden = {"mail": QueueSettings(redact=("response",))}
    async with home.daemon(alerts=(rule(home),), queues=hidden) as daemon:
        await daemon.engine.push(home.push("/mail", queue="mail", retry=ONCE))
        said = await message(home)
        assert "status 500: [redacted]" in said["text"]
        assert "private" not in json.dumps(said)


async def test_each_form_is_sent_as_its_receiver_wants_it(home: Home) -> None:
    ntfy = rule(home, preset=Preset.NTFY)
    async with home.daemon(alerts=(ntfy,)) as daemon:
        job = await daemon.engine.test_alert("ops")
        call = await call_of(home)
        assert call.body == b"This is a test of the alert ops. Nothing is wrong."
        assert call.headers["title"].endswith(": test of the alert ops")
        await reaches(daemon, job.id, State.COMPLETED)
        with pytest.raises(NotFound, match="no alert 'other'"):
            await daemon.engine.test_alert("other")


async def test_a_reload_follows_other_rules(home: Home) -> None:
    home.handler.on("/mail", answers(500))
    async with home.daemon() as daemon:
        before = await daemon.engine.push(home.push("/mail", retry=ONCE))
        await reaches(daemon, before.job.id, State.FAILED)
        daemon.engine.alerts.follow((rule(home),))
        told = await daemon.engine.push(home.push("/mail", retry=ONCE))
        assert (await message(home))["events"][0]["item"] == told.job.id
        await daemon.engine.queues.edit("alerts", QueueEdit(paused=True))
        gone = await daemon.engine.test_alert("ops")
        daemon.engine.alerts.follow(())
        await daemon.engine.queues.edit("alerts", QueueEdit(paused=False))
        failed = await reaches(daemon, gone.id, State.FAILED)
        assert failed.error == "alert_gone: lq.toml has no alert ops any more"


class Inbox(MessageHandler):
    """Keeps the mail that reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: asyncio.Queue[Message] = asyncio.Queue()

    def handle_message(self, message: Message) -> None:
        self.mail.put_nowait(message)


@contextlib.asynccontextmanager
async def mail_server(inbox: Inbox, **settings: Any) -> AsyncIterator[int]:
    """A mail server on this port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, **settings), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_mail_is_handed_to_a_server(home: Home) -> None:
    inbox = Inbox()
    home.handler.on("/mail", answers(500, "kein Gerät".encode()))
    mailing = rule(home, target="mailto:ada@example.com,bob@example.com")
    async with mail_server(inbox) as port:
        server = Mail(smtp=f"smtp://127.0.0.1:{port}", sender="lq@example.com")
        async with home.daemon(alerts=(mailing,), mail=server) as daemon:
            await daemon.engine.push(home.push("/mail", queue="büro", retry=ONCE))
            mail = await asyncio.wait_for(inbox.mail.get(), GIVE_UP_S)
    assert mail["To"] == "ada@example.com, bob@example.com"
    assert mail["From"] == "lq@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "queue büro failed: status 500: kein Gerät" in text.decode()


async def test_a_password_is_sent_over_tls_alone(home: Home, folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    password = folder / "password"
    password.write_text("password-canary\n")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    given: list[Any] = []

    def authenticate(server: object, session: object, *rest: Any) -> AuthResult:
        given.append(rest[-1])
        return AuthResult(success=True)

    inbox = Inbox()
    mailing = rule(home, target="mailto:ada@example.com")
    settings = {"authenticator": authenticate, "auth_required": True, "tls_context": tls}
    async with mail_server(inbox, **settings) as port:
        server = Mail(
            smtp=f"smtp://127.0.0.1:{port}",
            user="lq",
            password_file=password,
            ca_file=folder / "ca.pem",
        )
        async with home.daemon(alerts=(mailing,), mail=server) as daemon:
            await daemon.engine.test_alert("ops")
            await asyncio.wait_for(inbox.mail.get(), GIVE_UP_S)
        assert given[0].password == b"password-canary"
        async with home.daemon(alerts=(mailing,), mail=replace(server, ca_file=None)) as daemon:
            job = await daemon.engine.test_alert("ops")
            assert "certificate" in await failure(daemon, job)
    assert len(given) == 1


async def test_a_mail_server_that_breaks_off_is_tried_again(home: Home) -> None:
    async def closing(wire: Wire) -> None:
        wire.close()

    mailing = rule(home, target="mailto:ada@example.com")
    async with listening(closing) as port:
        server = Mail(smtp=f"smtp://127.0.0.1:{port}")
        async with home.daemon(alerts=(mailing,), mail=server) as daemon:
            job = await daemon.engine.test_alert("ops")
            said = await failure(daemon, job)
            assert said == f"smtp: connection unexpectedly closed (smtp://127.0.0.1:{port})"


async def failure(daemon: Daemon, job: Job) -> str:
    """Why a job failed the first time."""

    async def tried() -> bool:
        return (await daemon.engine.get(ById(job.id))).failures == 1

    await eventually(tried)
    return (await daemon.engine.get(ById(job.id))).error or ""


async def test_a_ping_goes_out_at_its_interval(clock: FakeClock) -> None:
    pinged: asyncio.Queue[str] = asyncio.Queue()

    async def get(url: str, _: int) -> str | None:
        pinged.put_nowait(url)
        return None

    ping = Ping(WatchConfig(ping="https://example.com/alive"), clock, lambda: True, get)
    async with asyncio.TaskGroup() as services:
        running = services.create_task(ping.run())
        for _ in range(3):
            assert await asyncio.wait_for(pinged.get(), GIVE_UP_S) == "https://example.com/alive"
            clock.advance(MINUTE - 1)
            await asyncio.sleep(0)
            assert pinged.empty()
            clock.advance(1)
        running.cancel()


async def test_a_daemon_pings_on_whatever_the_answer(home: Home) -> None:
    watch = WatchConfig(ping=home.handler.url("/ping"))
    home.handler.on("/ping", answers(200), answers(500), answers(200))
    async with home.daemon(watch=watch) as daemon:

        async def pinged_three_times() -> bool:
            await daemon.engine.queues.all()
            home.clock.advance(MINUTE)
            return len(home.handler.calls) >= 3

        await eventually(pinged_three_times)
        assert {call.path for call in home.handler.calls} == {"/ping"}
        assert (await daemon.engine.history(JobFilter())).items == ()
