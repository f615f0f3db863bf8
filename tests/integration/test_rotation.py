"""A rotation of the signing secret costs no job an attempt, whichever secret its handler knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixError

from lq.clock import SystemClock
from lq.daemon.main import Daemon
from lq.model import ById, Job, OutcomeKind, RetryPolicy, State
from lq.signature import SignatureError, new_secret, sign, verify, webhook_secret
from tests.clock import FakeClock
from tests.support.handler import Call, Wire, answers, response
from tests.support.home import Home, heard, reaches

HOUR, DAY = 3_600_000, 86_400_000
PATHS = ("/old", "/new", "/both")


class Verifier:
    """A handler that knows these secrets: proves the first, and refuses calls under others."""

    def __init__(self, home: Home, path: str, *knows: str, status: int = 401) -> None:
        self.knows: Sequence[str] = knows
        self._clock = home.clock
        self._refusal = status
        home.handler.on(path, self._called)
        home.handler.on_head(path, self._proves)

    async def _called(self, call: Call, wire: Wire) -> None:
        try:
            verify(call.headers["x-lq-signature"], call.body, self.knows, self._clock.now())
        except SignatureError:
            await wire.send(response(self._refusal))
        else:
            await wire.send(response(200))

    async def _proves(self, _: Call, wire: Wire) -> None:
        signature = sign(self.knows[0], b"", self._clock.now())
        await wire.send(response(200, headers={"x-lq-signature": signature}))


def rotated(daemon: Daemon, overlap_ms: int = DAY) -> str:
    """Rotate the secret; the new one."""
    daemon.engine.ring.rotate(overlap_ms)
    return daemon.engine.ring.newest


async def ended(daemon: Daemon, home: Home, path: str, **push: Any) -> Job:
    """What has become of a new job once its first call is over, or put off."""
    with daemon.events.subscribe() as events:
        pushed = await daemon.engine.push(home.push(path, **push))
        while True:
            event = await heard(events, {"succeed", "fail", "bury", "release"}, pushed.job.id)
            job = await daemon.engine.get(ById(pushed.job.id))
            if event.verb != "release" or job.due_at > home.clock.now():
                return job


async def succeeds(daemon: Daemon, home: Home, path: str, **push: Any) -> list[str | None]:
    """Have a job called, which costs it no attempt; the outcomes of all that it was called."""
    job = await ended(daemon, home, path, **push)
    assert (job.state, job.failures, job.error) == (State.COMPLETED, 0, None)
    attempts = await daemon.engine.attempts(ById(job.id))
    assert attempts[-1].outcome is OutcomeKind.SUCCEEDED
    assert {attempt.n for attempt in attempts} == {1}
    return [attempt.outcome for attempt in attempts]


async def test_no_handler_loses_an_attempt_over_a_rotation_and_the_end_of_its_overlap(
    home: Home, clock: FakeClock
) -> None:
    old = home.handler.secret
    handlers = {path: Verifier(home, path, old) for path in PATHS}
    async with home.daemon() as daemon:
        for path in PATHS:
            assert await succeeds(daemon, home, path) == ["succeeded"]
        new = rotated(daemon)
        for path in PATHS:  # nobody has been told yet
            assert await succeeds(daemon, home, path) == ["succeeded"]
        handlers["/new"].knows = [new]
        handlers["/both"].knows = [new, old]
        assert await succeeds(daemon, home, "/new") == ["interrupted", "succeeded"]
        for _ in range(3):
            for path in PATHS:
                assert await succeeds(daemon, home, path) == ["succeeded"]
            clock.advance(HOUR + 1)
    async with home.daemon() as daemon:  # a restart in between
        for path in PATHS:
            assert await succeeds(daemon, home, path) == ["succeeded"]
        clock.advance(DAY - 3 * HOUR)
        for path in ("/new", "/both"):
            assert await succeeds(daemon, home, path) == ["succeeded"]
        held = await ended(daemon, home, "/old")
        assert (held.state, held.failures) == (State.PENDING, 0)
        assert held.error is not None
        assert "was made with another secret" in held.error
        assert await daemon.engine.attempts(ById(held.id)) == []
        handlers["/old"].knows = [new]
        clock.advance(30_000)
        await reaches(daemon, held.id, State.COMPLETED)
        [attempt] = await daemon.engine.attempts(ById(held.id))
        assert (attempt.n, attempt.status) == (1, 200)


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_a_handler_that_has_changed_secrets_is_understood_whatever_it_answers(
    daemon: Daemon, home: Home, status: int
) -> None:
    verifier = Verifier(home, "/", home.handler.secret, status=status)
    await succeeds(daemon, home, "/")
    verifier.knows = [rotated(daemon)]
    assert await succeeds(daemon, home, "/") == ["interrupted", "succeeded"]
    assert await succeeds(daemon, home, "/") == ["succeeded"]


async def test_a_handler_may_go_back_to_the_old_secret(daemon: Daemon, home: Home) -> None:
    old = home.handler.secret
    verifier = Verifier(home, "/", old)
    new = rotated(daemon)
    for knows in (old, new, old, new):
        verifier.knows = [knows]
        await succeeds(daemon, home, "/")


async def test_a_refusal_under_the_right_secret_counts(daemon: Daemon, home: Home) -> None:
    new = rotated(daemon)
    Verifier(home, "/", new)
    home.handler.on("/", answers(401))
    job = await ended(daemon, home, "/")
    assert (job.state, job.failures, job.error) == (State.PENDING, 1, "status 401")


async def test_a_secret_that_is_revoked_while_a_call_goes_on(daemon: Daemon, home: Home) -> None:
    """The handler sees the new one only; the call under the old one was not its fault."""
    verifier = Verifier(home, "/", home.handler.secret)
    await succeeds(daemon, home, "/")
    before = home.handler.secret

    async def meanwhile(call: Call, wire: Wire) -> None:
        verify(call.headers["x-lq-signature"], call.body, [before], home.clock.now())
        verifier.knows = [rotated(daemon, 0)]
        Verifier(home, "/", *verifier.knows)
        await wire.send(response(401))

    home.handler.on("/", meanwhile)
    assert await succeeds(daemon, home, "/") == ["interrupted", "succeeded"]


async def test_an_endpoint_that_fails_its_validation_after_a_refusal_holds_its_jobs(
    daemon: Daemon, home: Home, clock: FakeClock
) -> None:
    verifier = Verifier(home, "/", home.handler.secret)
    await succeeds(daemon, home, "/")
    new = rotated(daemon)
    verifier.knows = [new_secret(bytes(32))]
    job = await ended(daemon, home, "/")
    assert (job.state, job.failures) == (State.PENDING, 0)
    assert job.due_at == clock.now() + 30_000
    verifier.knows = [new]
    clock.advance(30_000)
    await reaches(daemon, job.id, State.COMPLETED)


async def test_an_endpoint_that_never_proves_itself_is_called_under_the_secret_it_accepts(
    daemon: Daemon, home: Home
) -> None:
    old = home.handler.secret
    verifier = Verifier(home, "/", old)
    new = rotated(daemon)
    assert await succeeds(daemon, home, "/", validate=False) == ["succeeded"]
    verifier.knows = [new]
    assert await succeeds(daemon, home, "/", validate=False) == ["interrupted", "succeeded"]
    assert await succeeds(daemon, home, "/", validate=False) == ["succeeded"]
    newest = rotated(daemon)
    verifier.knows = [newest]
    assert len(await succeeds(daemon, home, "/", validate=False)) <= 3
    assert await succeeds(daemon, home, "/", validate=False) == ["succeeded"]
    assert home.handler.validations == []


async def test_an_endpoint_that_accepts_no_secret_uses_its_attempts_up(
    daemon: Daemon, home: Home
) -> None:
    """Three calls for an attempt, one under each secret that may be live, and no more."""
    home.handler.on("/", answers(401))
    secrets = [home.handler.secret, rotated(daemon), rotated(daemon)]
    job = await ended(daemon, home, "/", validate=False, retry=RetryPolicy(0))
    assert (job.state, job.failures, job.error) == (State.FAILED, 1, "status 401")
    calls = await home.handler.take(3)
    signed = [verify(call.headers["x-lq-signature"], call.body, secrets, call.at) for call in calls]
    assert signed == secrets
    attempts = await daemon.engine.attempts(ById(job.id))
    assert [attempt.outcome for attempt in attempts] == ["interrupted", "interrupted", "failed"]
    assert [attempt.status for attempt in attempts] == [401, 401, 401]


async def test_a_failure_of_an_endpoint_that_need_not_prove_itself_is_a_failure(
    daemon: Daemon, home: Home
) -> None:
    home.handler.on("/", answers(500))
    rotated(daemon)
    job = await ended(daemon, home, "/", validate=False)
    assert (job.failures, job.error) == (1, "status 500")
    assert len(home.handler.calls) == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (410, {}),
        (410, {"x-lq-retry": "no"}),
        (400, {"x-lq-retry": "no"}),
        (500, {"x-lq-retry": "no"}),
    ],
)
async def test_who_wants_no_further_attempt_gets_none(
    daemon: Daemon, home: Home, status: int, headers: dict[str, str]
) -> None:
    """Even when it knows another secret by then: it has decided about the item."""
    verifier = Verifier(home, "/", home.handler.secret)
    await succeeds(daemon, home, "/")
    verifier.knows = [rotated(daemon)]
    home.handler.on("/", answers(status, b"", headers))
    job = await ended(daemon, home, "/")
    assert (job.state, job.failures, job.last_status) == (State.FAILED, 1, status)
    assert [a.outcome for a in await daemon.engine.attempts(ById(job.id))] == ["rejected"]


@pytest.mark.parametrize("status", [401, 403])
async def test_who_does_not_know_lq_does_not_decide_about_its_items(
    daemon: Daemon, home: Home, status: int
) -> None:
    verifier = Verifier(home, "/", home.handler.secret)
    await succeeds(daemon, home, "/")
    verifier.knows = [rotated(daemon)]

    async def once(call: Call, wire: Wire) -> None:
        Verifier(home, "/", *verifier.knows)
        await wire.send(response(status, headers={"x-lq-retry": "no"}))

    home.handler.on("/", once)
    assert await succeeds(daemon, home, "/") == ["interrupted", "succeeded"]


@pytest.mark.parametrize("proof", ["hangs up", "not 2xx", "unsigned"])
async def test_a_failure_counts_when_its_endpoint_then_proves_nothing(
    daemon: Daemon, home: Home, proof: str
) -> None:
    """A handler that is down has not changed secrets."""
    Verifier(home, "/", home.handler.secret)
    await succeeds(daemon, home, "/")
    rotated(daemon)
    await succeeds(daemon, home, "/")
    await home.handler.validated(2)

    async def broken(_: Call, wire: Wire) -> None:
        if proof == "hangs up":
            wire.close()
        else:
            await wire.send(response(500 if proof == "not 2xx" else 200))

    home.handler.on_head("/", broken)
    home.handler.on("/", answers(500))
    job = await ended(daemon, home, "/")
    assert (job.state, job.failures, job.error) == (State.PENDING, 1, "status 500")


@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_that_is_busy_is_not_asked_what_it_knows(
    daemon: Daemon, home: Home, status: int
) -> None:
    Verifier(home, "/", home.handler.secret)
    await succeeds(daemon, home, "/")
    rotated(daemon)
    await succeeds(daemon, home, "/")
    home.handler.on("/", answers(status))
    await home.handler.validated(2)
    job = await ended(daemon, home, "/")
    assert (job.failures, job.last_status) == (1, status)
    assert len(home.handler.validations) == 2


Verify = Callable[[str, bytes, dict[str, str]], object]


@pytest.mark.parametrize(
    "accepts",
    [
        lambda secret, body, headers: Webhook(secret).verify(body, headers, json_parse=False),
        lambda secret, body, headers: SvixWebhook(secret).verify(body, headers),
    ],
    ids=["standardwebhooks", "svix"],
)
async def test_the_published_verifiers_accept_calls_before_during_and_after(
    home: Home, accepts: Verify
) -> None:
    home.clock.step(SystemClock().now() - home.clock.now())  # the libraries look at the real one
    Verifier(home, "/", home.handler.secret)
    old = webhook_secret(home.handler.secret)

    async def received() -> tuple[bytes, dict[str, str]]:
        await succeeds(daemon, home, "/", payload=b'{"a": "\xc3\xbc"}')
        call = (await home.handler.take(1))[0]
        return call.body, dict(call.headers)

    async with home.daemon() as daemon:
        accepts(old, *await received())
        fresh = rotated(daemon)
        new = webhook_secret(fresh)
        during = await received()
        accepts(old, *during)
        accepts(new, *during)
        first, second = during[1]["webhook-signature"].split(" ")
        accepts(new, during[0], {**during[1], "webhook-signature": first})
        accepts(old, during[0], {**during[1], "webhook-signature": second})
        Verifier(home, "/", fresh)
        daemon.engine.ring.revoke_old()
        after = await received()
        accepts(new, *after)
        with pytest.raises((WebhookVerificationError, SvixError)):
            accepts(old, *after)
        assert " " not in after[1]["webhook-signature"]
