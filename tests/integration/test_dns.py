"""Names: a resolver that lies, hangs or knows nothing; D17 in the catalogue of faults.

No test asks a real resolver, nor calls anything but this machine.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lq.daemon.egress import Egress, parse_pins
from lq.daemon.targets.names import (
    ASK_MS,
    FAILED_MS,
    FRESH_MS,
    MOST_THREADS,
    STALE_MS,
    Names,
    Unresolved,
)
from lq.model import Push
from tests.clock import FakeClock
from tests.support.calls import PATIENT_MS, failed, run_of
from tests.support.handler import GIVE_UP_S
from tests.support.home import Home, eventually, heard
from tests.support.out import LOOPBACK, Dns, way_out


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
def stuck(dns: Dns) -> Iterator[threading.Event]:
    """Set at the end of the test: what a resolver that says nothing waits for."""
    released = threading.Event()
    yield released
    released.set()


@pytest.fixture
async def names(dns: Dns, clock: FakeClock) -> Names:
    return Names(Egress("public", [], parse_pins(["pinned.test:443:[::1]"])), clock, dns)


async def addresses(names: Names, host: str, port: int = 443) -> list[str]:
    found = await names.resolve(host, port)
    assert all((one["hostname"], one["port"]) == (host, port) for one in found)
    return [one["host"] for one in found]


async def until(true: Callable[[], bool]) -> None:
    """Return when what other tasks and threads do has come so far."""
    await eventually(lambda: asyncio.to_thread(true))


async def waits(clock: FakeClock, number: int = 1) -> None:
    await until(lambda: clock.waiting == number)


# -- answers --------------------------------------------------------------------------------------


async def test_an_answer_is_kept_for_seconds(names: Names, dns: Dns, clock: FakeClock) -> None:
    dns.on("a.test", ["127.0.0.1"], ["127.0.0.2"])
    assert await addresses(names, "a.test") == ["127.0.0.1"]
    clock.advance(FRESH_MS - 1)
    assert await addresses(names, "a.test", 8443) == ["127.0.0.1"]
    clock.advance(1)
    assert await addresses(names, "a.test") == ["127.0.0.2"]
    assert dns.asked == ["a.test", "a.test"]


async def test_a_failure_is_kept_for_less(names: Names, dns: Dns, clock: FakeClock) -> None:
    dns.on("a.test", [], ["127.0.0.1"])
    for passed_ms in (0, FAILED_MS - 1):
        clock.advance(passed_ms)
        with pytest.raises(Unresolved, match=r"cannot resolve a\.test: Name or service not known"):
            await names.resolve("a.test")
    assert dns.asked == ["a.test"]
    clock.advance(1)
    assert await addresses(names, "a.test") == ["127.0.0.1"]


async def test_what_needs_no_asking(names: Names, dns: Dns) -> None:
    assert await addresses(names, "localhost") == ["127.0.0.1", "::1"]
    assert await addresses(names, "pinned.test") == ["::1"]
    assert dns.asked == []
    with pytest.raises(Unresolved):
        await names.resolve("pinned.test", 8443)  # pinned for another port
    assert dns.asked == ["pinned.test"]


async def test_of_500_records_the_first_few_of_each_family_are_kept(names: Names, dns: Dns) -> None:
    records = [f"10.0.{n // 256}.{n % 256}" for n in range(500)]
    dns.on("a.test", [*records, "10.0.0.0", "2a00::1", "fe80::1%lo", "fe80::2%2"])
    assert await addresses(names, "a.test") == ["2a00::1", *records[:4]]


async def test_an_answer_without_an_address_that_can_be_called(names: Names, dns: Dns) -> None:
    dns.on("a.test", ["fe80::1%lo"])
    with pytest.raises(Unresolved, match="it has no address"):
        await names.resolve("a.test")


@pytest.mark.parametrize("error", [UnicodeError("label too long"), OSError(5, "broken")])
async def test_whatever_a_resolver_raises_is_an_answer(clock: FakeClock, error: Exception) -> None:
    def raises(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise error

    with pytest.raises(Unresolved, match=r"cannot resolve a\.test: "):
        await Names(Egress("public", []), clock, raises).resolve("a.test")


async def test_the_systems_own_resolver_is_asked_for_streams(clock: FakeClock) -> None:
    found = await Names(Egress("public", []), clock).resolve("127.0.0.1", 80)
    assert [(one["host"], one["port"]) for one in found] == [("127.0.0.1", 80)]
    numeric = socket.getaddrinfo("127.0.0.1", None, type=socket.SOCK_STREAM)
    assert {kind for _, kind, _, _, _ in numeric} == {socket.SOCK_STREAM}


# -- a resolver that does not answer -----------------------------------------------------------


async def test_a_question_is_put_once_and_waited_for_once(
    names: Names, dns: Dns, clock: FakeClock, stuck: threading.Event
) -> None:
    dns.on("slow.test", stuck, ["127.0.0.1"])
    calls = [asyncio.create_task(addresses(names, "slow.test")) for _ in range(50)]
    await waits(clock, 50)
    clock.advance(ASK_MS)
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        assert str(ended) == "cannot resolve slow.test: the resolver did not answer within 5s"
    # Later calls do not wait for what has been waited for, nor ask beside it.
    with pytest.raises(Unresolved, match="did not answer"):
        await names.resolve("slow.test")
    assert dns.asked == ["slow.test"]


async def test_an_answer_that_came_too_late_is_not_lost(
    names: Names, dns: Dns, clock: FakeClock
) -> None:
    late = threading.Event()
    dns.on("slow.test", late, ["127.0.0.1"])
    call = asyncio.create_task(addresses(names, "slow.test"))
    await waits(clock)
    clock.advance(ASK_MS)
    with pytest.raises(Unresolved, match="did not answer"):
        await call
    late.set()
    said = ""
    while "not known" not in said:  # until its thread has come back
        await asyncio.sleep(0)
        with pytest.raises(Unresolved) as refused:
            await names.resolve("slow.test")
        said = str(refused.value)
    clock.advance(FAILED_MS)
    assert await addresses(names, "slow.test") == ["127.0.0.1"]


async def test_a_call_that_gave_up_takes_no_answer_from_others(
    names: Names, dns: Dns, clock: FakeClock
) -> None:
    late = threading.Event()
    dns.on("slow.test", late, ["127.0.0.1"])
    first, second = (asyncio.create_task(addresses(names, "slow.test")) for _ in range(2))
    await waits(clock, 2)
    first.cancel()
    late.set()
    with pytest.raises(Unresolved, match="not known"):
        await second


async def test_names_that_hang_leave_room_for_others(
    names: Names, dns: Dns, clock: FakeClock, stuck: threading.Event
) -> None:
    """And when there is no room left, a name waits its turn, within the same time."""
    hanging = [f"{n}.slow.test" for n in range(MOST_THREADS)]
    for host in hanging:
        dns.on(host, stuck)
    dns.on("good.test", ["127.0.0.1"])
    calls = [asyncio.create_task(names.resolve(host)) for host in hanging[:-1]]
    await waits(clock, MOST_THREADS - 1)
    assert await addresses(names, "good.test") == ["127.0.0.1"]
    calls.append(asyncio.create_task(names.resolve(hanging[-1])))
    await waits(clock, MOST_THREADS)
    clock.advance(FRESH_MS)
    assert len(await asyncio.gather(*calls, return_exceptions=True)) == MOST_THREADS
    dns.on("new.test", ["127.0.0.1"])
    turn = asyncio.create_task(addresses(names, "new.test"))
    await waits(clock)
    assert "new.test" not in dns.asked
    stuck.set()
    assert await turn == ["127.0.0.1"]


async def test_a_question_whose_turn_never_came_is_put_again(
    names: Names, dns: Dns, clock: FakeClock, stuck: threading.Event
) -> None:
    dns.default = ["127.0.0.1"]
    for n in range(MOST_THREADS):
        dns.on(f"{n}.test", stuck)
    calls = [asyncio.create_task(names.resolve(f"{n}.test")) for n in range(MOST_THREADS)]
    calls += [asyncio.create_task(names.resolve("good.test"))]
    await waits(clock, MOST_THREADS + 1)
    clock.advance(ASK_MS)
    assert len(await asyncio.gather(*calls, return_exceptions=True)) == MOST_THREADS + 1
    again = asyncio.create_task(addresses(names, "good.test"))
    await waits(clock)
    stuck.set()
    assert await again == ["127.0.0.1"]
    assert dns.asked.count("good.test") == 1


# -- what a name meant a while ago ---------------------------------------------------------------


async def test_names_of_others_that_hang_do_not_fail_a_known_one(
    names: Names, dns: Dns, clock: FakeClock, stuck: threading.Event
) -> None:
    """All threads are taken: it is not waited for, and asked again when one is free."""
    dns.on("good.test", ["127.0.0.1"], ["127.0.0.2"])
    assert await addresses(names, "good.test") == ["127.0.0.1"]
    for n in range(MOST_THREADS):
        dns.on(f"{n}.test", stuck)
    calls = [asyncio.create_task(names.resolve(f"{n}.test")) for n in range(MOST_THREADS)]
    await waits(clock, MOST_THREADS)
    clock.advance(FRESH_MS)
    async with asyncio.timeout(GIVE_UP_S):
        for _ in range(20):
            clock.advance(ASK_MS)
            assert await addresses(names, "good.test") == ["127.0.0.1"]
    assert dns.asked.count("good.test") == 1
    await asyncio.gather(*calls, return_exceptions=True)
    stuck.set()
    await until(lambda: dns.asked.count("good.test") == 2)

    async def is_new() -> bool:
        return await addresses(names, "good.test") == ["127.0.0.2"]

    await eventually(is_new)


async def test_a_known_name_outlives_a_resolver_that_hangs_for_minutes(
    names: Names, dns: Dns, clock: FakeClock, stuck: threading.Event
) -> None:
    dns.on("a.test", ["127.0.0.1"], stuck)
    assert await addresses(names, "a.test") == ["127.0.0.1"]
    clock.advance(FRESH_MS)
    call = asyncio.create_task(addresses(names, "a.test"))
    await waits(clock)
    clock.advance(ASK_MS)
    assert await call == ["127.0.0.1"]
    clock.advance(STALE_MS - FRESH_MS - ASK_MS - 1)
    assert await addresses(names, "a.test") == ["127.0.0.1"]
    clock.advance(1)
    with pytest.raises(Unresolved, match="did not answer"):
        await names.resolve("a.test")


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), True),
        (socket.gaierror(socket.EAI_NODATA, "No address associated with hostname"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
    ],
)
async def test_what_a_resolver_says_of_a_name_replaces_what_it_was(
    clock: FakeClock, error: OSError, final: bool
) -> None:
    """But not what it says of itself."""
    dns = Dns()
    dns.on("a.test", ["127.0.0.1"])

    def asked(*arguments: object, **options: object) -> list[tuple[Any, ...]]:
        if dns.asked:
            raise error
        return dns(str(arguments[0]), *arguments[1:], **options)

    names = Names(Egress("public", []), clock, asked)
    assert await addresses(names, "a.test") == ["127.0.0.1"]
    clock.advance(FRESH_MS)
    for _ in range(3):
        if final:
            with pytest.raises(Unresolved, match=str(error.strerror)):
                await names.resolve("a.test")
        else:
            assert await addresses(names, "a.test") == ["127.0.0.1"]
        clock.advance(FAILED_MS)


def test_nobody_waits_for_a_resolver_when_the_process_ends() -> None:
    program = """
import asyncio, time
from lq.clock import SystemClock
from lq.daemon.egress import Egress
from lq.daemon.targets.names import Names

async def main():
    names = Names(Egress("public", []), SystemClock(), lambda *_, **__: time.sleep(60))
    asyncio.create_task(names.resolve("slow.test"))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], timeout=20, capture_output=True, check=True
    )
    assert done.stderr == b""


# -- what a call makes of it ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_name_that_is_not_known_is_a_dns_error(dns: Dns, method: str) -> None:
    async with way_out(LOOPBACK, dns=dns) as target:
        outcome = await target.deliver(run_of(1, target="https://no.test/", method=method))
        failed(outcome, "dns_error: cannot resolve no.test: Name or service not known")
        head = await target.head("https://no.test/", {}, PATIENT_MS)
    assert head.error == outcome.error
    assert dns.asked == ["no.test"]


async def test_a_resolver_that_hangs_holds_up_no_other_call(
    home: Home, clock: FakeClock, dns: Dns, stuck: threading.Event
) -> None:
    """Neither calls that go to other queues, nor HEADs, nor a stop."""
    dns.default = ()
    slow = [f"{n}.slow.test" for n in range(12)]
    for host in slow:
        dns.on(host, stuck)
    async with home.daemon(getaddrinfo=dns) as running:
        with running.events.subscribe() as events:
            for n, host in enumerate(slow):
                await running.engine.push(
                    Push(queue="slow", target=f"https://{host}/", payload=b"", validate=n % 2 == 0)
                )
            await until(lambda: set(dns.asked) == set(slow))
            for _ in range(3):
                pushed = await running.engine.push(home.push(queue="fast"))
                assert (await heard(events, "succeed", pushed.job.id)).queue == "fast"
            clock.advance(ASK_MS)
            ended = [await heard(events, {"fail", "release"}) for _ in slow]
    errors = {event.error for event in ended}
    dead = "cannot resolve 0.slow.test: the resolver did not answer within 5s"
    assert f"endpoint not validated: HEAD failed with dns_error: {dead}" in errors
    assert f"dns_error: {dead}".replace("0.slow", "1.slow") in errors
    assert len(errors) == len(slow)
