"""The signing secrets over HTTP: who sees them, who changes them, and that they are no token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lq.daemon.main import Daemon
from lq.signature import sign, webhook_secret
from lq.when import parse_rfc3339

from .conftest import SteppedClock
from .given import token
from .raw import Answer, Peer

DAY = 86_400_000
ROUTES = ("GET secret", "POST secret/rotate", "POST secret/revoke-old")


def forms(secret: dict[str, Any]) -> str:
    """A secret of which both forms are shown."""
    assert secret["webhookSecret"] == webhook_secret(secret["secret"])
    return str(secret["secret"])


def live(answer: Answer) -> list[str]:
    """The secrets of an answer, the newest first."""
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    return [forms(answer.json), *map(forms, answer.json.get("older", ()))]


async def test_the_secret_in_both_its_forms(api: Peer) -> None:
    answer = await api.ask("GET secret")
    assert len(live(answer)) == 1
    assert answer.json.keys() == {"secret", "webhookSecret"}


async def test_a_rotation_keeps_the_old_one_for_a_day(
    api: Peer, clock: SteppedClock, pass_time: Callable[[int], None]
) -> None:
    (old,) = live(await api.ask("GET secret"))
    before = clock.now()
    rotated = await api.ask("POST secret/rotate")
    new, kept = live(rotated)
    assert (kept, new != old) == (old, True)
    until = parse_rfc3339(rotated.json["older"][0]["until"])
    assert before + DAY <= until <= clock.now() + DAY
    assert (await api.ask("GET secret")).json == rotated.json
    pass_time(DAY)
    assert live(await api.ask("GET secret")) == [new]


async def test_an_overlap_of_ones_own_and_its_end_by_hand(api: Peer, clock: SteppedClock) -> None:
    (old,) = live(await api.ask("GET secret"))
    rotated = await api.ask("POST secret/rotate?overlap=90d")
    until = parse_rfc3339(rotated.json["older"][0]["until"])
    assert abs(until - clock.now() - 90 * DAY) < 60_000
    new, _ = live(rotated)
    assert live(await api.ask("POST secret/revoke-old")) == [new]
    assert live(await api.ask("POST secret/revoke-old")) == [new]
    (newest,) = live(await api.ask("POST secret/rotate?overlap=0s"))
    assert newest not in {old, new}


async def test_a_fourth_secret_is_refused(api: Peer) -> None:
    for _ in range(2):
        secrets = live(await api.ask("POST secret/rotate"))
    refused = await api.ask("POST secret/rotate")
    assert (refused.status, refused.json["type"]) == (409, "CONFLICT")
    assert "revoke-old" in refused.json["hint"]
    assert live(await api.ask("GET secret")) == secrets


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("overlap=", "overlap"),
        ("overlap=24", "overlap"),
        ("overlap=-1h", "overlap"),
        ("overlap=91d", "overlap"),
        ("overlap=tomorrow", "overlap"),
        ("overlap=1h&overlap=1h", "overlap"),
        ("overlaps=1h", "overlaps"),
    ],
)
async def test_an_overlap_that_is_none_changes_nothing(api: Peer, query: str, field: str) -> None:
    before = (await api.ask("GET secret")).json
    assert (await api.ask(f"POST secret/rotate?{query}")).issues == [field]
    assert (await api.ask("GET secret")).json == before


@pytest.mark.parametrize("route", ROUTES)
async def test_secrets_are_for_admins_of_all_queues(api: Peer, route: str) -> None:
    limited = await token(api, "admin", queues=("mail",))
    for peer in (await token(api, "push"), await token(api, "read"), limited):
        assert (await peer.ask(route)).status == 403
    assert (await api.having("").ask(route)).status == 401


async def test_a_signature_of_lq_opens_nothing(
    api: Peer, running: Daemon, clock: SteppedClock
) -> None:
    """What a handler was sent is no credential here."""
    secret = running.engine.ring.newest
    signature = sign(secret, b"", clock.now())
    stranger = api.having("")
    answer = await stranger.ask("GET queues", f"x-lq-signature: {signature}")
    assert (answer.status, answer.json["type"]) == (401, "UNAUTHORIZED")
    for guess in (secret, webhook_secret(secret), signature):
        assert (await api.having(guess).ask("GET queues")).status == 401
