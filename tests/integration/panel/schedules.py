"""Schedules for the tests of their pages."""

from __future__ import annotations

from typing import Any

from tests.integration.api.given import make
from tests.integration.api.raw import Peer

ODD = "<script>alert(1)</script> & 'co'"
BERLIN = "x-lq-tz: Europe/Berlin"
TYPED = {
    "x-lq-schedule": "every 90s",
    "x-lq-queue": "mail/ä",
    "x-lq-target": "https://example.com/hook",
    "x-lq-key": ODD,
    "x-lq-start": "2029-01-01 09:00",
    "x-lq-until": "2029-02-01T00:00:00+01:00",
    "x-lq-tz": "Europe/Berlin",
    "x-lq-times": "12",
    "x-lq-jitter": "5m",
    "x-lq-misfire": "skip",
    "x-lq-overlap": "skip",
    "x-lq-method": "PUT",
    "x-lq-headers": "X-Team: mail\r\n\r\nX-Umlaut: ä: b",
    "x-lq-retry": "10s,1m",
    "x-lq-timeout": "30s",
    "x-lq-expires": "2h",
    "x-lq-label": "eu, report",
    "x-lq-validate": "none",
    "x-lq-completion": "response",
    "payload": '\r\n{"a": 1.10,\r\n "b": "ä"}',
    "content-type": "",
}
"""Each field of the form, as a browser sends it."""


async def made(api: Peer, *headers: str, body: bytes = b"") -> dict[str, Any]:
    document: dict[str, Any] = (await make(api, *headers, body=body)).json
    return document


async def stored(api: Peer, schedule_id: str) -> dict[str, Any]:
    document: dict[str, Any] = (await api.ask(f"GET schedules/{schedule_id}")).json
    return document
