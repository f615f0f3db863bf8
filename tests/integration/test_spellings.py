"""Hundreds of ways to write a target, none of which reaches what may not be called.

D19, D20 and D23 in the catalogue of faults. What is pushed is in api/test_target_spellings;
here are HEAD, the call, and the connection itself, each without a check at push before it.
Names lead to this machine, and no packet leaves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from lq.clock import SystemClock
from lq.daemon.egress import Egress, parse_target
from lq.daemon.targets.connect import Blocked, Guard, connector, tls_context
from lq.daemon.targets.names import Names
from lq.errors import TargetNotAllowed, ValidationError
from lq.model import OutcomeKind
from tests.support.calls import PATIENT_MS, run_of
from tests.support.loopback import nothing_leaves
from tests.support.out import LOOPBACK, Dns, way_out
from tests.support.spellings import SPELLINGS, Canary, canary

DIALLED = [spelling for spelling in SPELLINGS if spelling.get("dial", True)]


@pytest.fixture
async def bird() -> AsyncIterator[Canary]:
    async with canary() as bird:
        with nothing_leaves():
            yield bird


@pytest.fixture
def dns() -> Dns:
    """A resolver for which every name means this machine."""
    dns = Dns()
    dns.default = ("127.0.0.1", "::1")
    return dns


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    counts = Counter(spelling["expect"] for spelling in SPELLINGS)
    assert counts.keys() == {"refused", "blocked", "accepted"}
    assert len({spelling["text"] for spelling in SPELLINGS}) == len(SPELLINGS) >= 400


@pytest.mark.parametrize("why", sorted({spelling["why"] for spelling in SPELLINGS}))
def test_the_decision(why: str) -> None:
    egress = Egress("public", [])

    def decided(text: str) -> str:
        try:
            egress.check(parse_target(text))
        except ValidationError:
            return "refused"
        except TargetNotAllowed:
            return "blocked"
        return "accepted"

    wrong = [
        (spelling, found)
        for spelling in SPELLINGS
        if spelling["why"] == why
        and (found := decided(spelling["text"].replace("{port}", "54321"))) != spelling["expect"]
    ]
    assert wrong == []


async def test_neither_a_call_nor_a_head_gets_there(bird: Canary, dns: Dns) -> None:
    """As stored before the rule was made stricter, or by whatever way round the push."""
    async with way_out(dns=dns) as target:
        for spelling in DIALLED:
            url = spelling["text"].replace("{port}", str(bird.port))
            for method in ("POST", "GET"):
                outcome = await target.deliver(run_of(0, target=url, method=method))
                assert outcome.kind is OutcomeKind.FAILED
                assert outcome.error is not None
                assert outcome.error.startswith("target_blocked: "), spelling
            head = await target.head(url, {}, PATIENT_MS)
            assert head.error == outcome.error
    assert bird.reached == 0


async def test_the_connection_itself_is_guarded(bird: Canary, dns: Dns) -> None:
    """aiohttp may read a URL as it likes: what it dials is judged."""
    egress = Egress("public", [])
    names = Names(egress, SystemClock(), dns)
    blocked = 0
    for scheme in ("http", "https"):
        guarded = connector(Guard(egress, scheme, names), tls_context(), most_idle=1)
        async with aiohttp.ClientSession(connector=guarded) as session:
            for spelling in DIALLED:
                url = spelling["text"].replace("{port}", str(bird.port))
                if not url.lower().startswith(f"{scheme}:"):
                    continue
                with pytest.raises((aiohttp.ClientError, OSError, ValueError)) as refused:
                    await session.get(url)
                cause = getattr(refused.value, "os_error", None)
                blocked += isinstance(cause, Blocked)
    assert bird.reached == 0
    assert blocked > len(DIALLED) / 3  # the others are no URLs to aiohttp


async def test_the_canary_would_have_been_heard(bird: Canary) -> None:
    async with way_out(LOOPBACK) as target:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            run = run_of(0, target=f"http://{host}:{bird.port}/", method="GET")
            assert (await target.deliver(run)).body == b"secret"
    assert bird.reached == 3
