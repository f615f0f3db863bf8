"""What the daemon writes to stderr, as JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon, wait_until


def lines(lq: Daemon) -> list[dict[str, Any]]:
    """What it said after its banner."""
    return [json.loads(line) for line in lq.stderr.splitlines() if line.startswith("{")]


def test_a_line_of_json_for_each_thing(start: Start, endpoint: Endpoint) -> None:
    # Above the first table of the configuration.
    lq = start(start=False)
    path = lq.folder / "lq.toml"
    path.write_text(f'log_format = "json"\nlog_level = "debug"\n{path.read_text()}')
    lq.start()
    item = lq.client.push("q", b"payload-canary", target=endpoint.url())["id"]
    wait_until(lambda: lq.client.item(item)["state"] == "COMPLETED")
    lq.client.pause("q")
    wait_until(lambda: any("pause" in line["message"] for line in lines(lq)))
    [attempt] = [line for line in lines(lq) if line.get("job") == item]
    assert attempt["level"] == "debug"
    assert (attempt["queue"], attempt["attempt"], attempt["status"]) == ("q", 1, 200)
    assert attempt["message"].startswith(f"attempt 1 of {item} in q: status 200 after ")
    [pause] = [line for line in lines(lq) if "pause" in line["message"]]
    assert (pause["level"], pause["status"]) == ("info", 200)
    assert pause["request"] in pause["message"]
    assert lq.stop().code == 0
    assert lines(lq)[-1]["message"] == "stopped"
