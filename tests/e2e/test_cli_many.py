"""The commands on many items: filters, the question before, failures, replays."""

from __future__ import annotations

import json

from lq.client import Client

from .endpoint import Endpoint
from .process import Daemon


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
