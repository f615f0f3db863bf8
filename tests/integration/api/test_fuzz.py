"""The daemon is sent what its description allows, and what it forbids, by schemathesis.

Set LQ_FUZZ_EXAMPLES for more requests to each operation, LQ_FUZZ_SEED for others.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode

from lq.daemon.main import Daemon
from tests.support.loopback import nothing_leaves

from .described import DOCUMENT, STREAM
from .given import make
from .handler import Handler
from .raw import WAITING, Peer

EXAMPLES = int(os.environ.get("LQ_FUZZ_EXAMPLES", "20"))
SEED = int(os.environ.get("LQ_FUZZ_SEED", "4"))
OPERATIONS = [
    (path, method)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if STREAM not in operation["responses"].get("200", {}).get("content", {})
]

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
]


@pytest.fixture
async def known(api: Peer, handler: Handler) -> dict[str, str]:
    """What there is to be found, by the names that paths give it."""
    item = await api.ask("POST queues/a%2Fb/items", *WAITING, "x-lq-key: k", body=b"{}")
    schedule = await make(api, "x-lq-key: nightly")
    await api.ask("POST tokens", body=b'{"name": "other", "scopes": ["push"]}')
    return {
        **{"queue": "a/b", "key": "k", "id": item.json["id"], "name": "other"},
        **{"schedule": schedule.json["id"], "schedule_key": "nightly"},
        "x-lq-target": handler.url,
    }


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
async def test_nothing_but_answers_come_of_it(
    running: Daemon, api: Peer, known: dict[str, str], path: str, method: str
) -> None:
    def fuzz() -> None:
        described = schemathesis.openapi.from_dict(DOCUMENT)
        described.config.update(base_url=f"http://127.0.0.1:{running.port}")
        operation = described[path][method]
        headers = {"Authorization": f"Bearer {api.token}"}
        cases = st.one_of(*(operation.as_strategy(mode) for mode in GenerationMode))

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases, found=st.booleans())
        def ask(case: Any, found: bool) -> None:
            if found and case.meta.generation.mode is GenerationMode.POSITIVE:
                for part in (case.path_parameters, case.headers):
                    part.update({name: known[name] for name in part if name in known})
            case.call_and_validate(headers=headers, checks=CHECKS)

        ask()

    print(f"LQ_FUZZ_SEED={SEED} LQ_FUZZ_EXAMPLES={EXAMPLES}")
    with nothing_leaves():
        await asyncio.to_thread(fuzz)
    assert (await api.ask("GET /healthz")).status == 200


async def test_nothing_leaves_this_machine() -> None:
    with nothing_leaves():
        with pytest.raises(PermissionError, match="wants to reach"):
            await asyncio.open_connection("192.0.2.1", 443)
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("example.com", 443)
