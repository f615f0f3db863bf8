"""`lq drain`: nothing more starts, what runs ends, nothing is lost or missed."""

from __future__ import annotations

import signal

import pytest

from lq.client import ApiError, Client
from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon, wait_until
from tests.e2e.shell import piped, typed


def running(lq: Daemon, endpoint: Endpoint) -> str:
    item: str = lq.client.push("q", b"", target=endpoint.url("/held"))["id"]
    endpoint.next()
    return item


def test_a_drain_lets_what_runs_end_and_starts_nothing(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/held")
    item = running(lq, endpoint)
    draining = piped(lq, "drain", "--json")
    wait_until(lambda: lq.client.drained()["draining"])
    state = lq.client.drained()
    assert (state["running"], [one["id"] for one in state["items"]]) == (1, [item])
    waiting = lq.client.push("q", b"", target=endpoint.url())["id"]
    assert lq.client.ready()["reasons"] == ["the daemon is draining: it starts nothing"]
    why = lq.client.why(waiting)
    assert [gate["gate"] for gate in why["gates"]] == ["drain"]
    assert draining.poll() is None
    gate.set()
    out, err = draining.communicate(timeout=20)
    assert draining.returncode == 0
    assert b'"running": 0' in out
    assert f"1 item runs still: {item} in q".encode() in err
    assert lq.client.item(item)["state"] == "COMPLETED"
    assert lq.client.item(waiting)["state"] == "PENDING"
    assert endpoint.none_left()
    assert typed(lq, "drain", "--resume").text == "It goes on: what waits is started.\n"
    wait_until(lambda: lq.client.item(waiting)["state"] == "COMPLETED")
    assert lq.client.ready() == {"status": "ok"}


def test_schedules_fire_into_a_drained_lq(start: Start, endpoint: Endpoint) -> None:
    lq = start(
        '[[schedules]]\nkey = "k"\nschedule = "* * * * * *"\nqueue = "ticks"\n'
        f'target = "{endpoint.url("/tick")}"\n'
    )
    endpoint.next()
    assert lq.cli("drain", "--no-wait").code == 0
    wait_until(lambda: lq.client.queue("ticks")["pending"] >= 2)
    lq.client.end_drain()
    wait_until(lambda: lq.client.queue("ticks")["completed"] >= 3)


def test_a_drain_ends_with_its_patience_and_goes_on(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/held")
    running(lq, endpoint)
    done = lq.cli("drain", "--timeout", "1s")
    assert done.code == 7
    assert lq.client.drained()["draining"]
    gate.set()
    wait_until(lambda: lq.client.drained()["running"] == 0)
    assert typed(lq, "drain").text.startswith("Nothing runs, and nothing starts.")


def test_ctrl_c_leaves_it_draining(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/held")
    running(lq, endpoint)
    draining = piped(lq, "drain")
    wait_until(lambda: lq.client.drained()["draining"])
    assert draining.stderr is not None
    draining.stderr.readline()
    draining.send_signal(signal.SIGINT)
    assert draining.wait(20) == 130
    assert lq.client.drained()["draining"]
    gate.set()
    for pipe in (draining.stdin, draining.stdout, draining.stderr):
        assert pipe is not None
        pipe.close()


def test_a_restart_goes_on(lq: Daemon, endpoint: Endpoint) -> None:
    assert lq.cli("drain").code == 0
    waiting = lq.client.push("q", b"", target=endpoint.url())["id"]
    lq.kill()
    lq.start()
    wait_until(lambda: lq.client.item(waiting)["state"] == "COMPLETED")


def test_it_stops_the_daemon_when_nothing_runs(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/held")
    item = running(lq, endpoint)
    stopping = piped(lq, "drain", "--stop")
    wait_until(lambda: lq.client.drained()["draining"])
    gate.set()
    stopping.communicate(timeout=20)
    assert stopping.returncode == 0
    assert lq.wait().code == 0
    lq.start()
    assert lq.client.item(item)["state"] == "COMPLETED"


def test_a_stop_says_how_far_it_is(start: Start, endpoint: Endpoint) -> None:
    lq = start()
    gates = [endpoint.hold(f"/{n}") for n in range(2)]
    for n in range(2):
        lq.client.push("q", b"", target=endpoint.url(f"/{n}"))
        endpoint.next()
    lq.send(signal.SIGTERM)
    assert lq.wait_for("stopping: 2 calls are still running").endswith("30 s left\n")
    gates[0].set()
    lq.wait_for("stopping: 1 of 2 calls are still running")
    gates[1].set()
    assert lq.wait().code == 0


def test_draining_needs_an_admin(lq: Daemon) -> None:
    token = lq.client.create_token("r", ["read", "push"])["token"]
    with pytest.raises(ApiError) as refused:
        Client(lq.url, token).drain()
    assert refused.value.status == 403
    assert not lq.client.drained()["draining"]
