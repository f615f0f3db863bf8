"""`lq endpoints` and `lq config`: what a daemon knows, and what is in force for it."""

from __future__ import annotations

import json
from typing import Any

from lq.signature import new_secret

from .conftest import Start
from .endpoint import Endpoint
from .process import Daemon, Ended
from .shell import typed


def read(done: Ended) -> Any:
    assert (done.code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_endpoints_are_listed_and_checked(lq: Daemon, endpoint: Endpoint) -> None:
    url = endpoint.url("/hook")
    assert typed(lq, "endpoints", "ls").text == "There is nothing to list.\n"
    lq.client.push("mail", b"", target=url)
    endpoint.next()
    heading, row = lq.cli("endpoints", "ls").stdout.splitlines()
    assert heading.split() == ["URL", "STATE", "SINCE", "CHECKED", "QUEUES", "TROUBLE"]
    assert row.split()[:2] == [url, "validated"]
    assert lq.cli("endpoints", "ls", "-q").stdout == f"{url}\n"
    assert lq.cli("endpoints", "ls", "-q", "--queue", "other").stdout == ""
    [listed] = read(lq.cli("endpoints", "ls", "--json"))
    assert (listed["url"], listed["state"], listed["queues"]) == (url, "validated", ["mail"])

    secret, endpoint.secret = endpoint.secret, new_secret(bytes(32))
    done = lq.cli("endpoints", "check", url)
    assert done.code == 1
    assert "state       invalid\n" in done.stdout
    assert "another secret" in done.stdout
    done = lq.cli("endpoints", "check", url, "--queue", "mail", "--json")
    assert (done.code, json.loads(done.stdout)["state"]) == (1, "invalid")
    endpoint.secret = secret
    assert read(lq.cli("endpoints", "check", url, "--json"))["state"] == "validated"
    assert lq.cli("endpoints", "check", "http://169.254.169.254/").code == 4
    assert lq.cli("endpoints", "check", "nonsense").code == 2


def test_more_endpoints_than_asked_for_are_told_of(start: Start, endpoint: Endpoint) -> None:
    queues = "\n".join(f'[queues.q{n}]\ntarget = "{endpoint.url(f"/{n}")}"' for n in range(3))
    done = start(queues).cli("endpoints", "ls", "-q", "--limit", "1")
    assert (done.stdout, done.stderr) == (
        f"{endpoint.url('/0')}\n", "2 more endpoints: see --limit\n"
    )  # fmt: skip


def test_the_settings_in_force_are_shown(start: Start, endpoint: Endpoint) -> None:
    lq = start('[queues.mail]\nheaders = { "x-team" = "canary" }\nrate = "10/s"')
    text = lq.cli("config", "show").stdout
    assert "canary" not in text
    lines = text.splitlines()
    assert "# headers is set, and not shown  # lq.toml:" in text
    assert 'rate = "10/s"  # lq.toml:' in text
    assert lines[lines.index("[dispatch]") + 1] == "concurrency = 64  # default"
    assert "# ca_file is not set  # default" in lines
    found = read(lq.cli("config", "show", "--json"))
    assert found["file"] == str(lq.folder / "lq.toml")
    assert {"history", "queues.mail"} <= {table["name"] for table in found["tables"]}
    changed = read(lq.cli("config", "show", "--changed", "--json"))
    assert "history" not in {table["name"] for table in changed["tables"]}
    assert "default" not in {s["origin"] for table in changed["tables"] for s in table["settings"]}
    assert "Show all settings" in lq.cli("config").stdout
