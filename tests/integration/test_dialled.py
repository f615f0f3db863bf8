"""The verdict falls on the address that is dialled: D18, D19 and lq's own listener.

A second loopback address stands for what may not be called; no packet leaves this machine.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from lq.clock import SystemClock
from lq.config import Dispatch, EgressConfig, Validate
from lq.daemon.egress import Egress, parse_target
from lq.daemon.targets.connect import Blocked, Guard, is_this_machine, tls_context
from lq.daemon.targets.names import Names
from lq.errors import ConfigError, TargetNotAllowed
from lq.model import ById, OutcomeKind, Push, QueueSettings, State
from tests.clock import FakeClock
from tests.support.calls import PATIENT_MS, failed, run_of
from tests.support.handler import answers, listening
from tests.support.home import Home, heard
from tests.support.out import LOOPBACK, Dns, answers_ok, way_out
from tests.support.spellings import Canary

AUTHORITY = trustme.CA()
ELSEWHERE = "127.0.0.2"
BLOCKED = (
    "target_blocked: evil.test leads to an address that lq may not call"
    " ([egress] allow; lq's log names it)"
)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """What trusts the server of these tests."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tls_context(tmp_path / "ca.pem")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """An endpoint on 127.0.0.1 that knows its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("evil.test").configure_cert(context)
    async with listening(answers_ok, tls=context) as port:
        yield port


@pytest.fixture
async def bird(port: int) -> AsyncIterator[Canary]:
    """What must not be reached: the same port on another address."""
    bird = Canary()
    async with listening(bird.serve, host=ELSEWHERE, port=port) as bird.port:
        yield bird
    assert bird.reached == 0


# -- D18: a name that leads elsewhere ------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_name_that_leads_elsewhere_after_its_head(
    port: int, bird: Canary, tls: ssl.SSLContext, clock: FakeClock, method: str
) -> None:
    dns = Dns()
    dns.on("evil.test", ["127.0.0.1"], [ELSEWHERE])
    url = f"https://evil.test:{port}/"
    async with way_out([f"127.0.0.1:{port}"], tls=tls, dns=dns, clock=clock) as target:
        assert (await target.head(url, {}, PATIENT_MS)).status == 200
        clock.advance(60_000)
        run = run_of(port, target=url, method=method)
        failed(await target.deliver(run), BLOCKED)
        assert (await target.head(url, {}, PATIENT_MS)).error == BLOCKED
    assert dns.asked == ["evil.test"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        [ELSEWHERE, "127.0.0.1"],
        ["127.0.0.1", ELSEWHERE],
        ["::1", ELSEWHERE, "127.0.0.1"],
        [ELSEWHERE, "::1", "127.0.0.3", "127.0.0.1"],
    ],
)
async def test_of_many_addresses_only_those_allowed_are_dialled(
    port: int, bird: Canary, tls: ssl.SSLContext, answer: list[str]
) -> None:
    dns = Dns()
    dns.on("evil.test", answer)
    async with way_out([f"127.0.0.1:{port}"], tls=tls, dns=dns) as target:
        for method in ("POST", "PUT"):
            run = run_of(port, target=f"https://evil.test:{port}/", method=method)
            assert (await target.deliver(run)).kind is OutcomeKind.SUCCEEDED


async def test_what_is_blocked_looks_the_same_whether_or_not_anybody_listens(
    port: int, bird: Canary, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is dialled, so that neither words nor time tell; the log names the address."""
    dns = Dns()
    dns.on("evil.test", [ELSEWHERE])
    async with listening(answers_ok) as free:
        pass
    errors = set()
    with caplog.at_level(logging.WARNING, "lq"):
        async with way_out(dns=dns) as target:
            for number in (port, free, port):
                run = run_of(0, target=f"https://evil.test:{number}/")
                errors.add((await target.deliver(run)).error)
    assert errors == {BLOCKED}
    assert caplog.messages == [
        f"blocked https to evil.test, port {number}: it is {ELSEWHERE}" for number in (port, free)
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([ELSEWHERE, "127.0.0.1"], "connect_error: Connection refused"),
        (["127.0.0.1", ELSEWHERE], "connect_error: Connection refused"),
        (["127.0.0.1", "127.0.0.1"], "connect_error: Connection refused"),
        (["127.0.0.1", ELSEWHERE, "::1"], "connect_error: Connection refused"),
    ],
)
async def test_an_error_names_no_address(answer: list[str], error: str) -> None:
    """Where some addresses are blocked and others are dead, it is about the dead ones."""
    async with listening(answers_ok) as free:
        pass
    dns = Dns()
    dns.on("evil.test", answer)
    async with way_out([f"127.0.0.1:{free}", f"[::1]:{free}"], dns=dns) as target:
        outcome = await target.deliver(run_of(0, target=f"https://evil.test:{free}/"))
    failed(outcome, error)
    assert outcome.error == error


async def test_a_blocked_call_is_an_attempt_like_any_other(home: Home, clock: FakeClock) -> None:
    """It is tried again after its waits and no sooner, and ends."""
    dns = Dns()
    dns.on("evil.test", [ELSEWHERE])
    async with home.daemon(getaddrinfo=dns, validate=Validate(default="none")) as running:
        with running.events.subscribe() as events:
            push = Push(queue="q", target="https://evil.test/", payload=b"")
            job = (await running.engine.push(push)).job
            for _ in range(5):
                assert (await heard(events, "fail", job.id)).error == BLOCKED
                found = await running.engine.get(ById(job.id))
                assert found.due_at >= clock.now() + 10_000
                clock.advance(found.due_at - clock.now())
            await heard(events, "bury", job.id)
        attempts = await running.engine.attempts(ById(job.id))
    assert [attempt.error for attempt in attempts] == [BLOCKED] * 6


async def test_an_endpoint_whose_head_is_blocked_holds_its_jobs(home: Home) -> None:
    dns = Dns()
    dns.on("evil.test", [ELSEWHERE])
    async with home.daemon(getaddrinfo=dns) as running:
        with running.events.subscribe() as events:
            push = Push(queue="q", target="https://evil.test/", payload=b"")
            job = (await running.engine.push(push)).job
            held = await heard(events, "release", job.id)
        found = await running.engine.get(ById(job.id))
    assert held.error == f"endpoint not validated: HEAD failed with {BLOCKED}"
    assert (found.state, found.failures) == (State.PENDING, 0)


# -- the rule at the connection ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "host", "permitted"),
    [
        ("https", "127.0.0.1", True),
        ("http", "127.0.0.1", True),
        ("https", "::ffff:127.0.0.1", True),
        ("https", "127.0.0.2", False),
        ("https", "1.1.1.1", True),
        ("http", "1.1.1.1", False),  # plain http goes to what is listed, and nowhere else
        ("http", "2606:4700:4700::1111", False),
        ("https", "169.254.169.254", False),
        ("https", "64:ff9b::1.1.1.1", False),
        ("https", "fe80::1%lo", False),
    ],
)
async def test_a_socket_is_made_for_what_is_permitted_alone(
    scheme: str, host: str, permitted: bool
) -> None:
    """The decision; nothing is sent by making a socket."""
    egress = Egress("public", ["127.0.0.1:443"])
    guard = Guard(egress, scheme, Names(egress, SystemClock(), Dns()))
    family = 10 if ":" in host else 2
    address = (host, 443, 0, 0) if ":" in host else (host, 443)
    if permitted:
        guard.open_socket((family, 1, 6, "", address)).close()
    else:
        with pytest.raises(Blocked):
            guard.open_socket((family, 1, 6, "", address))


@pytest.mark.parametrize(
    "address",
    [
        *["127.0.0.1", "::1", "0.0.0.0", "::", "169.254.169.254", "fd00:ec2::254", "10.0.0.1"],
        *["172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fe80::1", "224.0.0.1", "ff02::1"],
        *["::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"],
        *["255.255.255.255", "168.63.129.16", "100.100.100.200", "192.0.0.192", "::ffff:a9fe:a9fe"],
    ],
)
async def test_a_name_that_leads_to_what_is_not_public(address: str) -> None:
    """The decision alone: no connection is made."""
    dns = Dns()
    dns.on("evil.test", [address])
    egress = Egress("public", [])
    guard = Guard(egress, "https", Names(egress, SystemClock(), dns))
    with pytest.raises(Blocked):
        await guard.resolve("evil.test", 443)
    dns.on("evil.test", [address, "1.1.1.1"])
    guard = Guard(egress, "https", Names(egress, SystemClock(), dns))
    assert [one["host"] for one in await guard.resolve("evil.test", 443)] == ["1.1.1.1"]


async def test_a_pin_does_not_open_the_address_it_gives(port: int, bird: Canary) -> None:
    pins = [f"evil.test:{port}:{ELSEWHERE}"]
    async with way_out(pins=pins) as target:
        outcome = await target.deliver(run_of(0, target=f"https://evil.test:{port}/"))
    failed(outcome, f"target_blocked: https to evil.test:{port} is blocked")
    egress = Egress("public", [f"127.0.0.1:{port}"], {("web", port): (ip_address("127.0.0.1"),)})
    egress.check(parse_target(f"http://web:{port}/"))
    with pytest.raises(TargetNotAllowed):
        egress.check(parse_target("http://web:1/"))


async def test_localhost_is_this_machine_whatever_a_resolver_says(home: Home) -> None:
    dns = Dns()
    dns.on("localhost", [ELSEWHERE])
    target = f"http://localhost:{home.handler.port}/"
    async with home.daemon(getaddrinfo=dns) as running:
        await running.engine.push(Push(queue="q", target=target, payload=b""))
        assert (await home.handler.next()).headers["host"] == f"localhost:{home.handler.port}"
    assert dns.asked == []


# -- lq itself -----------------------------------------------------------------------------------


async def test_lq_does_not_call_itself(home: Home) -> None:
    """A network that holds its address does not open it, by no way round."""
    dns = Dns()
    dns.on("self.test", ["127.0.0.1", "::1"])
    allow = ("0.0.0.0/0:1-65535", "[::/0]:1-65535", f"127.0.0.1:{home.handler.port}")
    egress = EgressConfig(allow=allow)
    async with home.daemon(
        egress=egress, getaddrinfo=dns, validate=Validate(default="none")
    ) as running:
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]", "127.9.9.9"):
            target = f"http://{host}:{running.port}/healthz"
            with pytest.raises(TargetNotAllowed, match="lq's own, need an entry of exactly that"):
                await running.engine.push(Push(queue="q", target=target, payload=b""))
        with running.events.subscribe() as events:
            named = f"https://self.test:{running.port}/healthz"
            job = (await running.engine.push(Push(queue="q", target=named, payload=b""))).job
            end = await heard(events, "fail", job.id)
    assert str(end.error).startswith("target_blocked: self.test leads to an address")


async def test_lq_does_not_call_itself_while_it_starts(home: Home) -> None:
    """Its port is known before anything runs: what the configuration names is judged by it."""
    async with listening(answers_ok) as port:
        pass
    listen = f"127.0.0.1:{port}"
    queues = {"q": QueueSettings(target=f"http://{listen}/healthz")}
    with pytest.raises(ConfigError, match="lq's own, need an entry of exactly that"):
        async with home.daemon(
            egress=EgressConfig(allow=(f"127.0.0.0/8:{port}",)), listen=listen, queues=queues
        ):
            pass


async def test_lq_may_call_itself_by_an_entry_of_its_own(home: Home) -> None:
    async with listening(answers_ok) as port:
        pass
    listen = f"127.0.0.1:{port}"
    async with home.daemon(
        egress=EgressConfig(allow=(listen,)), listen=listen, validate=Validate(default="none")
    ) as running:
        with running.events.subscribe() as events:
            push = Push(queue="q", target=f"http://{listen}/healthz", payload=b"", method="GET")
            job = (await running.engine.push(push)).job
            await heard(events, "succeed", job.id)


def test_which_addresses_are_this_machines() -> None:
    for text in ("127.0.0.1", "127.1.2.3", "::1"):
        assert is_this_machine(ip_address(text))
    for text in ("192.0.2.1", "2001:db8::1", "fe80::dead"):
        assert not is_this_machine(ip_address(text))


# -- what the way out does not do ----------------------------------------------------------------


async def test_no_proxy_and_no_password_is_taken_from_the_environment(
    home: Home, bird: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{ELSEWHERE}:{bird.port}")
        monkeypatch.setenv(name.upper(), f"http://{ELSEWHERE}:{bird.port}")
    home.handler.on("/", answers(200))
    allow = [*LOOPBACK, f"{ELSEWHERE}:1-65535"]
    async with way_out(allow) as target:
        for method in ("POST", "GET"):
            run = run_of(home.handler.port, method=method)
            assert (await target.deliver(run)).kind is OutcomeKind.SUCCEEDED
            assert "authorization" not in (await home.handler.next()).headers


# -- the configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dispatch", "key", "reason"),
    [
        (Dispatch(resolve=("a.test:443",)), "resolve", "expected .*, got 'a.test:443'"),
        (Dispatch(ca_file=Path("/nowhere/ca.pem")), "ca_file", "/nowhere/ca.pem cannot be read: "),
    ],
)
async def test_what_cannot_be_used_is_said_at_start(
    home: Home, dispatch: Dispatch, key: str, reason: str
) -> None:
    origin = {f"dispatch.{key}": "lq.toml:7"}
    with pytest.raises(ConfigError, match=rf"lq\.toml:7: \[dispatch\] {key}: {reason}"):
        async with home.daemon(dispatch=dispatch, origin=origin):
            pass
