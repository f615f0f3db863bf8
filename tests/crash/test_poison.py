"""A job that takes the daemon down each time it runs cannot do so for ever."""

from __future__ import annotations

from tests.e2e.endpoint import FAILED, OK, Answer, Call, Endpoint
from tests.e2e.process import Daemon, wait_until


def die_in_call(lq: Daemon, endpoint: Endpoint) -> Call:
    """Kill the daemon while its next call is under way, and start it again."""
    call = endpoint.next()
    lq.kill()
    lq.start()
    return call


def outcomes(lq: Daemon, item: str) -> list[tuple[int, str]]:
    return [(one["n"], one["outcome"]) for one in lq.client.attempts(item)]


def test_it_fails_after_its_third_interruption(lq: Daemon, endpoint: Endpoint) -> None:
    endpoint.hold("/poison")
    item = lq.client.push("q", b"1", target=endpoint.url("/poison"), retry="0")["id"]
    for _ in range(3):
        call = die_in_call(lq, endpoint)
        assert (call.id, call.attempt) == (item, 1)
    wait_until(lambda: lq.client.item(item)["state"] == "FAILED")
    shown = lq.client.item(item)
    assert "interrupted 3 times" in shown["error"]
    assert shown["attempts"] == 1
    assert outcomes(lq, item) == [(1, "interrupted")] * 3
    assert endpoint.none_left()
    lq.client.push("q", b"1", target=endpoint.url("/other"))
    assert endpoint.next().path == "/other"


def test_with_retries_left_it_is_tried_again_and_each_further_interruption_counts(
    lq: Daemon, endpoint: Endpoint
) -> None:
    endpoint.hold("/poison")
    item = lq.client.push("q", b"1", target=endpoint.url("/poison"), retry="10ms,10ms")["id"]
    attempts = [die_in_call(lq, endpoint).attempt for _ in range(5)]
    assert attempts == [1, 1, 1, 2, 3]
    wait_until(lambda: lq.client.item(item)["state"] == "FAILED")
    assert "interrupted 5 times" in lq.client.item(item)["error"]
    assert endpoint.none_left()


def test_only_interruptions_in_a_row_count(lq: Daemon, endpoint: Endpoint) -> None:
    gate = endpoint.hold("/poison", FAILED)
    retry = "10ms,10ms"
    item = lq.client.push("q", b"1", target=endpoint.url("/poison"), retry=retry)["id"]
    for _ in range(2):
        assert die_in_call(lq, endpoint).attempt == 1
    assert endpoint.next().attempt == 1
    patient = endpoint.hold("/poison")
    gate.set()
    for _ in range(2):
        assert die_in_call(lq, endpoint).attempt == 2
    patient.set()
    assert endpoint.next().attempt == 2
    wait_until(lambda: lq.client.item(item)["state"] == "COMPLETED")
    assert outcomes(lq, item) == [
        (1, "interrupted"),
        (1, "interrupted"),
        (1, "failed"),
        (2, "interrupted"),
        (2, "interrupted"),
        (2, "succeeded"),
    ]


def test_an_interruption_in_each_life_leaves_the_handler_a_way_to_tell(
    lq: Daemon, endpoint: Endpoint
) -> None:
    pushed = 8
    answered: list[str] = []

    def behaviour(call: Call) -> Answer:
        answered.append(call.id)
        return OK

    endpoint.hold("/job")
    for _ in range(pushed):
        lq.client.push("q", b"1", target=endpoint.url("/job"))
    first = [endpoint.next() for _ in range(pushed)]
    lq.kill()
    endpoint.on("/job", behaviour)
    lq.start()
    second = [endpoint.next() for _ in range(pushed)]
    assert sorted(call.id for call in first) == sorted(call.id for call in second)
    for name in ("x-lq-id", "idempotency-key", "webhook-id", "x-lq-attempt"):
        sent = [sorted(call.headers[name] for call in calls) for calls in (first, second)]
        assert sent[0] == sent[1]
    wait_until(lambda: lq.client.queue("q")["completed"] == pushed)
    assert endpoint.none_left()
    assert len(answered) == pushed
