"""Holds lq against Quirrel, the published queue that is nearest to it, by turns in one run.

Quirrel runs as its Docker image and its deployment guide have it: one process, a token for each
client, every call signed; with telemetry and logs off, which only helps it. Its Redis answers
after an fsync, as lq does, and takes no snapshots beside its log. Both sides get the same
payload over the same connections and call the same handler, and both are warm before the first
figure: JavaScript starts slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import aiohttp

from tests.bench.load import Arrivals, Handler, send_all
from tests.bench.peers import BODY
from tests.bench.processes import Daemon, free_port, lq, process

CONNECTIONS = 32
ROUNDS = 5
PUSHES = 6000  # a round; below what Quirrel grants a token in a minute
JOBS = 5000  # a round
CALLS, CALLS_A_SECOND = 500, 100  # a round
PATIENCE_S = 60  # after which a job counts as lost
PASSPHRASE = "bench"

_FOLDER = Path(__file__).with_suffix("")
_SERVER = _FOLDER / "node_modules/quirrel/dist/cjs/src/api/main.js"
_PACKAGES = {"node": "nodejs", "npm": "npm", "redis-server": "redis-server"}
# `process` starts Pythons: one that becomes another program is ended and awaited like the rest.
_BECOME = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"

Report = Callable[[str, str, str, str], None]  # what, measured, target, detail
Encode = Callable[[bytes], bytes]  # from a payload to the request that pushes it


class Side(Protocol):
    """One of the two that are compared."""

    @property
    def port(self) -> int: ...

    async def encoder(self, due: datetime | None) -> Encode:
        """What makes the requests that push jobs for that instant, or for now."""


@dataclass(frozen=True)
class Lq:
    daemon: Daemon
    target: str

    @property
    def port(self) -> int:
        return self.daemon.port

    async def encoder(self, due: datetime | None) -> Encode:
        headers = [f"x-lq-target: {self.target}"]
        if due is not None:
            headers.append(f"x-lq-on: {rfc3339(due)}")
        path, token = "/api/v1/queues/q/items", self.daemon.token
        return lambda payload: post(path, token, payload, *headers)


@dataclass(frozen=True)
class Quirrel:
    port: int
    target: str

    async def encoder(self, due: datetime | None) -> Encode:
        path, token = f"/queues/{quote(self.target, safe='')}", await self._token()
        options = {} if due is None else {"runAt": rfc3339(due)}

        def encode(payload: bytes) -> bytes:
            body = json.dumps({"body": payload.decode(), **options}, separators=(",", ":"))
            return post(path, token, body.encode())

        return encode

    async def _token(self) -> str:
        """One more token of the same client: each may send 10,000 requests a minute."""
        url = f"http://127.0.0.1:{self.port}/tokens/lq"
        owner = aiohttp.BasicAuth("ignored", PASSPHRASE)
        async with aiohttp.request(
            "PUT", url, auth=owner, json={}, raise_for_status=True
        ) as answer:
            return await answer.text()


def post(path: str, token: str, body: bytes, *headers: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        *headers,
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def rfc3339(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")


async def compare(report: Report) -> None:
    """Pushes, dispatch and latency of lq as ratios to Quirrel's."""
    if obstacle := await install():
        report("lq / Quirrel", "not measured", "", obstacle)
        return
    arrivals = Arrivals(keep=True)
    handler = await asyncio.get_running_loop().create_server(
        lambda: Handler(arrivals), "127.0.0.1", 0
    )
    port: int = handler.sockets[0].getsockname()[1]
    target = f"http://127.0.0.1:{port}/a"
    async with handler, lq(port) as daemon, quirrel(target) as peer:
        sides = (Lq(daemon, target), peer)
        for side in sides:
            await warm_up(side, arrivals)

        pushes = await by_turns(sides, push_rate)
        what = f"flat-out push, {CONNECTIONS} connections, lq / Quirrel"
        report(what, *ratio(pushes, ">= 1.7", "{:.0f}/s"))

        lead = timedelta(seconds=2 + 2 * JOBS / min(itertools.chain(*pushes)))
        calls = await by_turns(sides, lambda side: dispatch_rate(side, arrivals, lead))
        what = f"dispatch of {JOBS:,} jobs due in one instant, lq / Quirrel"
        report(what, *ratio(calls, ">= 1.7", "{:.0f}/s"))

        delays = await by_turns(sides, lambda side: latency_p99_ms(side, arrivals))
        what = f"push to handler at {CALLS_A_SECOND}/s, p99, lq / Quirrel"
        report(what, *ratio(delays, "<= 1", "{:.2f} ms"))


async def install() -> str | None:
    """Install Quirrel unless it is there; says what stands in the way."""
    if missing := [program for program in _PACKAGES if shutil.which(program) is None]:
        packages = " ".join(_PACKAGES[program] for program in missing)
        return f"{', '.join(missing)} not installed; on Debian and Ubuntu: apt install {packages}"
    wanted, found = _FOLDER / "package-lock.json", _FOLDER / "node_modules/.package-lock.json"
    # npm writes the second one last: an interrupted install is begun anew.
    if not found.exists() or found.stat().st_mtime < wanted.stat().st_mtime:
        npm = await asyncio.create_subprocess_exec(
            "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=_FOLDER,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        if await npm.wait() != 0:
            return "`npm ci` failed; run it in tests/bench/quirrel to see why"
    return None


@contextlib.asynccontextmanager
async def quirrel(target: str) -> AsyncIterator[Quirrel]:
    """Quirrel and its Redis, each a process that ends with the context."""
    port, redis_port = free_port(), free_port()
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "PASSPHRASES": PASSPHRASE,
        "NODE_ENV": "production",
        "LOG_LEVEL": "silent",
        "DISABLE_TELEMETRY": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        redis = (
            "redis-server", "--bind", "127.0.0.1", "--port", str(redis_port), "--dir", folder,
            "--appendonly", "yes", "--appendfsync", "always", "--save", "",
        )  # fmt: skip
        async with (
            process("-c", _BECOME, *redis, port=redis_port),
            process("-c", _BECOME, "node", str(_SERVER), port=port, **settings),
        ):
            yield Quirrel(port, target)


async def warm_up(side: Side, arrivals: Arrivals) -> None:
    """Push jobs for now and see all of them through."""
    done = arrivals.count + JOBS
    await push(side, JOBS, None)
    await reach(arrivals, done)


async def push_rate(side: Side) -> float:
    """Push jobs for tomorrow as fast as they are taken. Units: jobs a second."""
    return PUSHES / await push(side, PUSHES, datetime.now(UTC) + timedelta(days=1))


async def dispatch_rate(side: Side, arrivals: Arrivals, lead: timedelta) -> float:
    """Push jobs for one instant, wait from it to the last call. Units: calls a second."""
    done = arrivals.count + JOBS
    due = datetime.now(UTC) + lead
    await push(side, JOBS, due)
    if datetime.now(UTC) > due:
        raise RuntimeError(f"the pushes took longer than {lead}: is this machine busy?")
    await reach(arrivals, done)
    return JOBS / (time.time() - due.timestamp())


async def latency_p99_ms(side: Side, arrivals: Arrivals) -> float:
    """Push at a steady rate over one connection; from writing a push to reading its call."""
    encode = await side.encoder(None)
    reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
    done = arrivals.count + CALLS
    sent: dict[bytes, float] = {}
    began = time.perf_counter()
    for number in range(CALLS):
        payload = (b'{"n":"%d"}' % number).ljust(len(BODY))
        request = encode(payload)
        await asyncio.sleep(began + number / CALLS_A_SECOND - time.perf_counter())
        sent[payload] = time.time()
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
    await reach(arrivals, done)
    writer.close()
    took = sorted(arrivals.times[payload] - at for payload, at in sent.items())
    return took[CALLS * 99 // 100] * 1000


async def push(side: Side, number: int, due: datetime | None) -> float:
    """Push the same job again and again. Units: seconds."""
    request = (await side.encoder(due))(BODY)
    took, _ = await send_all("127.0.0.1", side.port, itertools.repeat(request, number), CONNECTIONS)
    return took


async def reach(arrivals: Arrivals, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await arrivals.reach(count)


async def by_turns(
    sides: tuple[Side, Side], measure: Callable[[Side], Awaitable[float]]
) -> tuple[list[float], list[float]]:
    """Measure both sides, now the one, now the other."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        for side, found in zip(sides, (ours, theirs), strict=True):
            found.append(await measure(side))
    return ours, theirs


def ratio(found: tuple[list[float], list[float]], wanted: str, unit: str) -> tuple[str, str, str]:
    """The middle of the rounds' ratios, what is wanted, and what that is made of."""
    ratios = [ours / theirs for ours, theirs in zip(*found, strict=True)]
    ours, theirs = (unit.format(statistics.median(figures)) for figures in found)
    detail = f"{ours} against {theirs}; rounds {min(ratios):.2f} to {max(ratios):.2f}"
    return f"{statistics.median(ratios):.2f}", wanted, detail
