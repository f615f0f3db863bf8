"""How the daemon stops: nothing is lost, nothing is called twice without a reason."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from lq.client import ApiError

from .conftest import Start
from .endpoint import Call, Endpoint
from .process import Daemon, wait_until


def outcomes(daemon: Daemon, item: str) -> list[tuple[int, str]]:
    return [(one["n"], one["outcome"]) for one in daemon.client.attempts(item)]


def push_held(daemon: Daemon, endpoint: Endpoint) -> tuple[str, threading.Event, Call]:
    """An item whose call is under way, and what lets it end."""
    gate = endpoint.hold("/held")
    item = daemon.client.push("q", b"1", target=endpoint.url("/held"))["id"]
    return item, gate, endpoint.next()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_stops_at_once(lq: Daemon, number: signal.Signals) -> None:
    ended = lq.stop(number)
    assert ended.code == 0
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("stopped")
    assert not lq.socket.exists()
    assert {path.name for path in lq.data.iterdir()} == {"lq.db", "lq.lock", "secret"}


def test_a_kept_connection_does_not_hold_up_a_stop(start: Start) -> None:
    lq = start("limits.header_timeout = '1m'")
    with closing(socket.socket(socket.AF_UNIX)) as idle, idle.makefile("rb") as answers:
        idle.connect(str(lq.socket))
        idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: lq\r\n\r\n")
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
        ended = lq.stop()
    assert ended.code == 0


def test_a_body_that_does_not_come_does_not_hold_up_a_stop(lq: Daemon) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as slow:
        slow.connect(str(lq.socket))
        slow.sendall(
            b"POST /api/v1/queues/q/items HTTP/1.1\r\nHost: lq\r\nContent-Length: 100\r\n"
            b"x-lq-target: https://example.com/\r\nExpect: 100-continue\r\n\r\n"
        )
        assert slow.recv(1024).startswith(b"HTTP/1.1 100 ")
        slow.sendall(b"the beginning of")
        ended = lq.stop()
    assert ended.code == 0
    assert "Traceback" not in ended.stderr


def test_a_running_call_ends_and_is_recorded(lq: Daemon, endpoint: Endpoint) -> None:
    item, gate, _ = push_held(lq, endpoint)
    lq.send(signal.SIGTERM)
    lq.wait_for("stopping: 1 calls")
    assert lq.client.item(item)["state"] == "RUNNING"
    gate.set()
    assert lq.wait().code == 0
    lq.start()
    assert lq.client.item(item)["state"] == "COMPLETED"
    assert outcomes(lq, item) == [(1, "succeeded")]
    assert endpoint.none_left()


def test_while_it_drains_nothing_new_comes_in_or_starts(lq: Daemon, endpoint: Endpoint) -> None:
    _, gate, _ = push_held(lq, endpoint)
    waiting = lq.client.push("q", b"2", target=endpoint.url(), delay_ms=3000)["id"]
    due_s = time.monotonic() + 3
    lq.send(signal.SIGTERM)
    lq.wait_for("stopping")
    refused: tuple[Callable[[], object], ...] = (
        lambda: lq.client.push("q", b"3", target=endpoint.url()),
        lambda: lq.client.cancel(waiting),
        lambda: lq.client.edit(waiting, delay_ms=0),
        lambda: lq.client.pause("q"),
        lambda: lq.client.create_token("late", ["push"]),
    )
    for verb in refused:
        with pytest.raises(ApiError) as refusal:
            verb()
        assert (refusal.value.status, refusal.value.type) == (503, "UNAVAILABLE")
    wait_until(lambda: time.monotonic() > due_s)
    assert lq.client.item(waiting)["state"] == "PENDING"
    assert lq.client.ready()["reasons"] == ["the daemon is stopping"]
    gate.set()
    assert lq.wait().code == 0
    assert endpoint.none_left()
    lq.start()
    assert endpoint.next().id == waiting


@pytest.mark.parametrize("how", ["its drain runs out", "a second signal comes"])
def test_a_call_that_takes_too_long_is_given_back_uncounted(
    start: Start, endpoint: Endpoint, how: str
) -> None:
    patient = how == "a second signal comes"
    daemon = start("" if patient else "[dispatch]\ndrain_timeout = '100ms'\n")
    endpoint.hold_first("/held")
    pushed = daemon.client.push("q", b"1", target=endpoint.url("/held"), key="k", retry="0")
    item = pushed["id"]
    first = endpoint.next()
    daemon.send(signal.SIGTERM)
    daemon.wait_for("stopping")
    if patient:
        daemon.send(signal.SIGTERM)
    ended = daemon.wait()
    assert ended.code == 0
    assert "Traceback" not in ended.stderr

    daemon.start()
    second = endpoint.next()
    assert (first.id, first.attempt) == (second.id, second.attempt) == (item, 1)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == f'"{item}"'
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert daemon.stop().code == 0
    daemon.start()
    shown = daemon.client.item(item)
    assert (shown["state"], shown["attempts"]) == ("COMPLETED", 1)
    assert outcomes(daemon, item) == [(1, "interrupted"), (1, "succeeded")]
    assert endpoint.none_left()


def test_a_validation_that_hangs_is_cut_by_a_second_signal(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        daemon = start(environ={"LQ_EGRESS_ALLOW": address})
        item = daemon.client.push("q", b"1", target=f"http://{address}/", retry="0")["id"]
        asking, _ = silent.accept()
        with asking:
            daemon.send(signal.SIGTERM)
            daemon.wait_for("stopping")
            daemon.send(signal.SIGTERM)
            ended = daemon.wait()
    assert ended.code == 0
    assert "Traceback" not in ended.stderr
    daemon.start()
    wait_until(lambda: "connect_error" in daemon.client.item(item).get("error", ""))
    assert daemon.client.item(item)["attempts"] == 0


def test_what_became_due_while_it_was_suspended_runs_once_it_goes_on(
    lq: Daemon, endpoint: Endpoint
) -> None:
    waiting = [
        lq.client.push("q", b"1", target=endpoint.url(), delay_ms=delay_ms)["id"]
        for delay_ms in (3000, 3100, 3200)
    ]
    lq.send(signal.SIGSTOP)
    time.sleep(4)
    assert endpoint.none_left()
    lq.send(signal.SIGCONT)
    # All are due at once then, so they go out side by side.
    assert sorted(endpoint.next().id for _ in waiting) == sorted(waiting)
    wait_until(lambda: lq.client.queue("q")["completed"] == len(waiting))
    assert endpoint.none_left()


def test_sighup_does_not_stop_it(lq: Daemon) -> None:
    lq.send(signal.SIGHUP)
    assert "nothing changed" in lq.wait_for("SIGHUP")
    assert lq.client.ready() == {"status": "ok"}
