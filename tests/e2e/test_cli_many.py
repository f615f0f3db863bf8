"""The commands on many items: filters, the question before, failures, replays."""

from __future__ import annotations

import json

from lq.client import Client

from .endpoint import Endpoint
from .process import Daemon, wait_until
from .shell import piped, typed


def cancelled(client: Client, endpoint: Endpoint, number: int, queue: str = "q") -> None:
    """Items in history."""
    for _ in range(number):
        client.push(queue, b"", target=endpoint.url(), delay_ms=3_600_000)
    assert client.cancel_many(queue=queue)["cancelled"] == number


def test_many_are_counted_and_asked_for_first(lq: Daemon, endpoint: Endpoint) -> None:
    cancelled(lq.client, endpoint, 3)
    refused = lq.cli("items", "retry", "--queue", "q")
    assert (refused.code, refused.stdout) == (2, "")
    assert "this would retry 3 items; say --yes" in refused.stderr
    assert lq.cli("items", "retry").code == 2
    assert lq.cli("history", "replay", "--all", "--dry-run").stdout == "3\n"
    done = lq.cli("history", "replay", "--state", "CANCELLED", "--rate", "1/h", "--yes", "--json")
    assert json.loads(done.stdout)["replayed"] == 3
    assert lq.cli("history", "-q").stdout.count("\n") <= 1  # the first is due at once
    assert lq.cli("queues", "purge", "q", "--yes").stdout == "2\n"


def test_a_retry_by_id_may_bring_another_payload(lq: Daemon, endpoint: Endpoint) -> None:
    cancelled(lq.client, endpoint, 1)
    item = lq.cli("history", "-q").stdout.strip()
    lq.client.pause("q")
    again = lq.cli("items", "retry", item, "--data", '{"a":1}')
    assert (again.code, again.stdout) == (0, f"{item}\n")
    assert lq.client.item(item)["payload"] == {"a": 1}
    assert lq.cli("items", "retry", item, "--queue", "q").code == 2


def test_failures_lead_to_their_items(lq: Daemon, endpoint: Endpoint) -> None:
    for _ in range(2):
        lq.client.push("q", b"", target=endpoint.url(), delay_ms=3_600_000, expires="1ms")
    while (page := lq.client.failures())["failures"] == []:
        pass
    [kind] = page["failures"]
    table = lq.cli("failures").stdout
    assert kind["fingerprint"] in table
    listed = lq.cli("history", "--fingerprint", kind["fingerprint"], "-q").stdout.split()
    assert kind["item"] in listed
    assert lq.cli("history", "--error", "EXPIRED", "-q").stdout.split() == listed


def test_a_person_is_asked_and_may_say_no(lq: Daemon, endpoint: Endpoint) -> None:
    cancelled(lq.client, endpoint, 3)
    lq.client.pause("q")
    said = typed(lq, "items", "retry", "--queue", "q", keys="n\n")
    assert "3 items" in said.plain
    assert said.code == 1
    assert lq.client.queue("q")["pending"] == 0
    done = typed(lq, "items", "retry", "--queue", "q", keys="y\n")
    assert done.code == 0
    assert lq.client.queue("q")["pending"] == 3


def test_a_replay_cut_off_by_kill_9_is_finished_by_the_next(lq: Daemon, endpoint: Endpoint) -> None:
    number = 4000
    entries = [{"target": endpoint.url(), "delay": "1h", "json": n} for n in range(number)]
    lq.client.push_batch("q", entries)
    lq.client.cancel_many(queue="q")
    lq.client.pause("q")
    for _ in range(3):
        before = lq.client.queue("q")["pending"]
        replay = piped(lq, "history", "replay", "--queue", "q", "--rate", "1/min", "--yes")
        wait_until(lambda before=before: lq.client.queue("q")["pending"] > before)  # type: ignore[misc]
        lq.kill()
        replay.communicate(timeout=20)
        lq.start()
        counts = lq.client.queue("q")
        assert counts["pending"] + counts["cancelled"] == number
        if counts["pending"] == number:
            break
    while lq.client.replay(queue="q", rate="1/min").get("cursor"):
        pass
    assert lq.client.queue("q")["pending"] == number
    assert lq.client.checkup(deep=True)["database"].get("fault") is None


def test_two_replays_at_once_revive_each_item_once(lq: Daemon, endpoint: Endpoint) -> None:
    number = 3000
    entries = [{"target": endpoint.url(), "delay": "1h", "json": n} for n in range(number)]
    lq.client.push_batch("q", entries)
    lq.client.cancel_many(queue="q")
    lq.client.pause("q")
    replays = [piped(lq, "history", "replay", "--queue", "q", "--yes", "--json") for _ in range(2)]
    done = [json.loads(replay.communicate(timeout=60)[0])["replayed"] for replay in replays]
    assert sum(done) == number
    assert lq.client.queue("q")["pending"] == number
