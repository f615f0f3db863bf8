"""A daemon in the middle of a day's work, for whoever wants to look at the panel.

Owns: what it holds. It runs in this process, on a clock that an hour is made of in seconds, with
handlers that really answer, fail, refuse and dawdle; nothing is written past the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from lq.client import AsyncClient
from lq.clock import SystemClock
from lq.config import load
from lq.daemon.main import Daemon
from lq.sdk.codec import Encoded
from lq.sdk.sealing import Sealer
from tests.support.serving import serving

MINUTE_MS: Final = 60_000
_MINUTES: Final = 59
_WORDS: Final = {"/declined": (500, "card declined"), "/gone": (410, "no such printer")}
KEY: Final = "11" * 32
"""What the encrypted item is encrypted under."""

_CONFIG: Final = """
listen = "127.0.0.1:0"
data_dir = "data"
socket = "lq.sock"
log_level = "error"
[egress]
allow = ["127.0.0.1:{port}"]
[validate]
skip = ["http://127.0.0.1:{port}/*"]
[queues.mail]
target = "http://127.0.0.1:{port}/mail"
concurrency = 8
rate = "1000/s"
[queues.billing]
target = "http://127.0.0.1:{port}/billing"
redact = ["header:X-Card"]
[scriptlets.backup]
command = ["/bin/sh", "-c", "echo dumping the database; echo 214 MB written; echo uploaded >&2"]
[[schedules]]
key = "nightly-backup"
schedule = "30 2 * * *"
timezone = "Europe/Berlin"
queue = "backups"
target = "scriptlet:backup"
timeout = "2h"
"""


class LaterClock(SystemClock):
    """The machine's clock, behind by as much as the scene has still to play."""

    behind_ms = _MINUTES * MINUTE_MS

    def now(self) -> int:
        return super().now() - self.behind_ms


class Scene:
    """What there is to see. Shape: `url` is the panel's; items by what is special about them."""

    def __init__(self, running: Daemon, client: AsyncClient, port: int) -> None:
        self.running = running
        self.client = client
        self.url = f"http://127.0.0.1:{running.port}"
        self.handlers = f"http://127.0.0.1:{port}"
        self.items: dict[str, str] = {}
        self.schedules: dict[str, str] = {}

    async def link(self) -> str:
        """A link that logs in as admin."""
        return str((await self.client.panel_link())["url"])

    async def pushed(self, name: str, queue: str, payload: bytes = b"", **options: Any) -> str:
        """Push an item that the scene knows by name."""
        item = await self.client.push(queue, payload, **options)
        self.items[name] = str(item["id"])
        return self.items[name]


@contextlib.asynccontextmanager
async def playing(folder: Path) -> AsyncIterator[Scene]:
    """The scene, played and ready to be looked at."""
    release = asyncio.Event()
    async with _handlers(release) as port:
        path = folder / "lq.toml"
        path.write_text(_CONFIG.format(port=port))
        clock = LaterClock()
        config = load(str(path), {})
        async with (
            serving(config, clock) as running,
            AsyncClient(socket=config.socket) as client,
        ):
            scene = Scene(running, client, port)
            await _play(scene, clock)
            yield scene
            release.set()


@contextlib.asynccontextmanager
async def _handlers(release: asyncio.Event) -> AsyncIterator[int]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow" and request.method != "HEAD":
            await release.wait()
        status, text = _WORDS.get(request.path, (200, ""))
        body = {"error": text} if text else {"delivered": True}
        return web.json_response(body, status=status, headers={"X-Served-By": "web-2"})

    protocol = web.Server(answer)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    release.set()
    server.close()
    await protocol.shutdown(1)


async def _play(scene: Scene, clock: LaterClock) -> None:
    client, handlers = scene.client, scene.handlers
    await _schedules(scene)

    async def settled() -> bool:
        queues = (await client.overview())["queues"]
        return not any(one["running"] or one["pending"] or one["retry"] for one in queues)

    for minute in range(_MINUTES):
        mails = 9 + (minute * 7) % 11 + (14 if 30 < minute < 40 else 0)
        for number in range(mails):
            await client.push(
                "mail", json={"to": f"user{number}@example.com", "template": "welcome"},
                labels=["welcome", "eu" if number % 2 else "us"],
            )  # fmt: skip
        for number in range(minute % 3):
            await client.push(
                "billing", json={"invoice": 1000 + minute * 3 + number, "amount": "19.90"},
                key=f"invoice-{1000 + minute * 3 + number}", retry=0,
                target=f"{handlers}/{'declined' if minute in {12, 13, 33} else 'billing'}",
            )  # fmt: skip
        await _until(settled)
        clock.behind_ms -= MINUTE_MS
    await _last(scene)


async def _until(met: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what no event tells."""
    while True:
        if await met():
            return
        await asyncio.sleep(0.005)


async def _schedules(scene: Scene) -> None:
    client = scene.client
    made = {
        "digest": await client.create_schedule(
            "0 9 * * 1-5", "mail", json={"digest": "daily"}, key="digest", tz="Europe/Berlin"
        ),
        "dunning": await client.create_schedule(
            "*/20 * * * *", "billing", json={"dunning": True}, key="dunning",
            target=f"{scene.handlers}/declined", retry=0,
        ),
        "cache": await client.create_schedule(
            "E=90m", "reports", json={"report": "sales"}, key="sales-report",
            target=f"{scene.handlers}/reports",
        ),
    }  # fmt: skip
    scene.schedules = {name: str(one["id"]) for name, one in made.items()}


async def _last(scene: Scene) -> None:
    """What is under way when somebody comes to look."""
    client, handlers = scene.client, scene.handlers
    await scene.pushed(
        "failing", "billing", json={"invoice": 4711, "amount": 19.90, "currency": "EUR"},
        key="invoice-4711", target=f"{handlers}/declined", retry="1m,5m,1h",
        headers={"X-Card": "4242"}, labels=["eu"],
    )  # fmt: skip
    await scene.pushed("printer", "reports", json={"page": 1}, target=f"{handlers}/gone")
    await scene.pushed("running", "reports", json={"year": 2026}, target=f"{handlers}/slow")
    await scene.pushed(
        "waiting", "mail", json={"to": "ada@example.com", "template": "reminder"},
        key="reminder-ada", delay="3d",
    )  # fmt: skip
    await scene.pushed("unproven", "webhooks", json={"n": 1}, target="https://hooks.invalid/in")
    sealed = Sealer("mail", KEY).seal(
        Encoded(b'{"iban": "DE02 1203 0000 0000 2020 51"}', "application/json"), "payload"
    )
    await scene.pushed(
        "sealed", "mail", sealed.body, content_type=sealed.content_type, key="iban-ada", delay="1h"
    )
    await scene.pushed("binary", "reports", bytes(range(256)), target=f"{handlers}/reports")
    run = await client.run_schedule("nightly-backup")
    scene.items["backup"] = str(run["id"])
    scene.schedules["backup"] = str((await client.schedule("nightly-backup"))["id"])
    await client.pause("newsletters", reason="waiting for the new template")
    await client.push("newsletters", json={"issue": 12}, target=f"{handlers}/mail")
    await client.create_token("shop", ["push"], ["mail", "billing"])
    await client.create_token("grafana", ["read"], expires="90d")
    await client.create_token("old-laptop", ["admin"])
    await client.revoke_token("old-laptop")

    async def attempted() -> bool:
        tried = [await client.attempts(scene.items[name]) for name in ("failing", "printer")]
        return all(tried) and (await client.item(scene.items["backup"]))["state"] == "COMPLETED"

    await _until(attempted)
