"""`lq panel`: the link that it prints, and whom it logs in."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from .conftest import Start
from .process import Daemon, environment, run_lq


def test_it_prints_a_link_where_no_browser_is(lq: Daemon) -> None:
    done = lq.cli("panel")
    assert (done.code, done.stderr) == (0, "")
    url, _, code = done.stdout.strip().partition("#")
    assert url == f"{lq.url}/login"
    assert len(code) == 48
    assert lq.cli("panel").stdout != done.stdout
    assert code not in lq.stderr


def test_it_says_all_of_it_in_json(start: Start) -> None:
    lq = start('public_url = "https://lq.example.com"')
    link = json.loads(lq.cli("panel", "--json").stdout)
    assert set(link) == {"url", "local", "expires"}
    assert link["url"].startswith("https://lq.example.com/login#")
    assert link["local"].startswith(f"{lq.url}/login#")


def test_with_a_token_it_is_that_token(lq: Daemon) -> None:
    for scope, code in (("read", 0), ("admin", 0), ("push", 4)):
        token = lq.client.create_token(scope, [scope])["token"]
        environ = environment(lq.folder, LQ_API_URL=lq.url, LQ_TOKEN=token)
        done = run_lq("panel", "--print", cwd=lq.folder, environ=environ)
        assert done.code == code, done.stderr


def test_from_afar_the_link_leads_where_the_daemon_was_reached(start: Start) -> None:
    lq = start('public_url = "https://lq.example.com/below"')
    token = lq.client.create_token("ada", ["admin"])["token"]
    port = lq.url.rpartition(":")[2]
    environ = environment(lq.folder, LQ_API_URL=f"http://localhost:{port}/api/v1", LQ_TOKEN=token)
    done = run_lq("panel", cwd=lq.folder, environ=environ)
    assert done.stdout.startswith(f"http://localhost:{port}/login#")


def test_without_a_panel_it_says_where_that_is_decided(start: Start) -> None:
    lq = start("[panel]\nenabled = false")
    done = lq.cli("panel")
    assert done.code == 6
    assert "there is no panel here" in done.stderr
    assert "[panel] enabled" in done.stderr
    assert "lq panel" not in lq.stderr  # what to type next leaves it out
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{lq.url}/login")
    with refused.value as answer:
        assert answer.code == 401  # as the API answers at any path


def test_a_host_that_is_none_is_refused_at_the_start(start: Start) -> None:
    lq = start('[panel]\nhosts = ["https://lq.example.com"]', start=False)
    done = lq.cli("serve")
    assert done.code == 78
    assert "[panel] hosts: expected a list of names without a port" in done.stderr
