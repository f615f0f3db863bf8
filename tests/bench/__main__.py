"""`make bench`: what lq costs, as ratios to bare peers measured side by side in this run.

Absolute figures say more about the machine than about lq, so each is printed beside its
peer's, and beside what one fsync takes here. `ARGS="push dispatch"` picks some; `ARGS=all`
adds those that take minutes (a million jobs).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from lq.daemon.store.sqlite import open_store
from lq.model import NewJob, RetryPolicy
from tests.bench import batch, pages, quirrel
from tests.bench.load import Arrivals, Handler, send_all
from tests.bench.peers import BODY
from tests.bench.processes import Daemon, free_port, lq, peer

ROUNDS = 3
DAY_MS = 86_400_000

Report = Callable[[str, str, str, str], None]  # what, measured, target, detail


def pushes(number: int, port: int, token: str, target: str, *extra: str) -> Iterator[bytes]:
    """The same push again and again, as bytes."""
    head = "\r\n".join(
        (
            "POST /api/v1/queues/q/items HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            f"x-lq-target: {target}",
            *extra,
            f"Content-Length: {len(BODY)}",
        )
    )
    return itertools.repeat(f"{head}\r\n\r\n".encode() + BODY, number)


async def push(report: Report) -> None:
    """Durable pushes against the same app storing nothing, and a bare aiohttp application."""
    target, later = "http://127.0.0.1:9/a", "x-lq-delay: 1d"
    bare_port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        same_port = free_port()
        environ = {
            "LQ_LISTEN": f"127.0.0.1:{same_port}",
            "LQ_EGRESS_ALLOW": "127.0.0.1:9",
            "LQ_LIMITS_CONNECTIONS_PER_ADDRESS": "1000",
        }
        async with (
            lq(9) as daemon,
            peer("same-app", folder, port=same_port, **environ),
            peer("bare-app", str(bare_port), port=bare_port),
        ):
            same = Daemon(Path(folder), same_port, 0)
            body = b'{"name":"bench","scopes":["admin"]}'
            same.token = (await same.ask("POST", "/tokens", body))["token"]
            for connections, least in ((32, 0.45), (128, 0.6)):
                rates: dict[str, list[float]] = {"lq": [], "same": [], "bare": []}
                for _ in range(ROUNDS):
                    for name, port, token in (
                        ("bare", bare_port, "none"),
                        ("same", same_port, same.token),
                        ("lq", daemon.port, daemon.token),
                    ):
                        requests = pushes(6000, port, token, target, later)
                        took, _ = await send_all("127.0.0.1", port, requests, connections)
                        rates[name].append(6000 / took)
                middle = {name: statistics.median(found) for name, found in rates.items()}
                report(
                    f"durable push, {connections} connections / same app storing nothing",
                    f"{middle['lq'] / middle['same']:.2f}",
                    f">= {least}",
                    f"{middle['lq']:.0f}/s against {middle['same']:.0f}/s",
                )
                report(
                    f"durable push, {connections} connections / bare aiohttp application",
                    f"{middle['lq'] / middle['bare']:.2f}",
                    "",
                    f"{middle['lq']:.0f}/s against {middle['bare']:.0f}/s",
                )


async def dispatch(report: Report) -> None:
    """Waiting no-op jobs against a bare aiohttp client loop sending the same signed requests."""
    number, handler_port = 20_000, free_port()
    async with peer("handler", str(handler_port), port=handler_port), lq(handler_port) as daemon:
        ratios, ours, theirs = [], [], []
        for _ in range(ROUNDS):
            bare = await bare_rate(handler_port, number)
            ours.append(await drain(daemon, handler_port, number))
            theirs.append(bare)
            ratios.append(ours[-1] / bare)
        report(
            f"dispatch of {number:,} waiting jobs / bare aiohttp client loop",
            f"{statistics.median(ratios):.2f}",
            ">= 0.7",
            f"{statistics.median(ours):.0f}/s against {statistics.median(theirs):.0f}/s",
        )


async def bare_rate(handler_port: int, number: int) -> float:
    """What the bare client loop reaches. Units: calls a second."""
    bare = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.peers", "bare-client", str(handler_port), str(number),
        "64", cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await bare.communicate()
    return float(output)


async def drain(daemon: Daemon, handler_port: int, number: int) -> float:
    """Push jobs to a paused queue, let it go. Units: jobs a second."""
    await daemon.ask("POST", "/queues/q/pause")
    before = (await daemon.ask("GET", "/queues/q"))["completed"]
    target = f"http://127.0.0.1:{handler_port}/a"
    await send_all("127.0.0.1", daemon.port, pushes(number, daemon.port, daemon.token, target), 64)
    started = time.perf_counter()
    await daemon.ask("POST", "/queues/q/resume")
    await daemon.until_completed(before + number)
    return number / (time.perf_counter() - started)


async def latency(report: Report) -> None:
    """From push to handler at 100 pushes a second; and 1,000 jobs due in the same instant."""
    arrivals = Arrivals(keep=True)
    handler = await asyncio.get_running_loop().create_server(
        lambda: Handler(arrivals), "127.0.0.1", 0
    )
    port: int = handler.sockets[0].getsockname()[1]
    target = f"http://127.0.0.1:{port}/a"
    async with lq(
        port, LQ_DISPATCH_CONCURRENCY="1000", LQ_DISPATCH_QUEUE_CONCURRENCY="1000"
    ) as daemon:
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
        request = next(pushes(1, daemon.port, daemon.token, target))
        sent: dict[bytes, float] = {}
        for number in range(1000):
            body = (b'{"n":"%d"}' % number).ljust(len(BODY))
            started = time.perf_counter()
            sent[body] = time.time()
            writer.write(request[: -len(BODY)] + body)
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(max(0, 0.01 - (time.perf_counter() - started)))
        await arrivals.reach(1000)
        took = sorted((arrivals.times[body] - at) * 1000 for body, at in sent.items())
        report("push to handler at 100/s, p50", f"{took[500]:.2f} ms", "<= 1.5 ms", "")
        report("push to handler at 100/s, p99", f"{took[990]:.2f} ms", "<= 3 ms", "")
        await burst(report, daemon, target)
        writer.close()
    handler.close()


async def burst(report: Report, daemon: Daemon, target: str) -> None:
    """1,000 jobs due in the same instant: how late each attempt began, by its history."""
    due = time.time() + 3
    on = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(due)))
    before = (await daemon.ask("GET", "/queues/q"))["completed"]
    headers = (f"x-lq-on: {on}", "x-lq-label: burst")
    requests = pushes(1000, daemon.port, daemon.token, target, *headers)
    await send_all("127.0.0.1", daemon.port, requests, 32)
    await daemon.until_completed(before + 1000)
    page = await daemon.ask("GET", "/history?label=burst&limit=1000")
    late = []
    for item in page["items"]:
        attempts = (await daemon.ask("GET", f"/items/{item['id']}/attempts"))["attempts"]
        late.append(instant(attempts[0]["started"]) - int(due))
    late.sort()
    report(
        "1,000 jobs due in one instant, p99 start", f"{late[990] * 1000:.0f} ms", "<= 50 ms",
        f"p50 {late[len(late) // 2] * 1000:.0f} ms",
    )  # fmt: skip


def instant(text: str) -> float:
    """An RFC 3339 instant in UTC. Units: Unix seconds."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


async def fill(folder: Path, number: int, due_at: int, target: str) -> None:
    """Put waiting jobs into a store, without a daemon."""
    store = await open_store(folder)
    now = time.time_ns() // 1_000_000
    for start in range(0, number, 5000):
        await asyncio.gather(
            *(
                store.push(
                    NewJob(
                        id=f"job_{start + offset:032x}",
                        queue="q",
                        created_at=now,
                        not_before=due_at,
                        due_at=due_at + start + offset,
                        target=target,
                        method="POST",
                        retry=RetryPolicy(5),
                        timeout_ms=60_000,
                        payload=BODY,
                        content_type="application/json",
                    )
                )
                for offset in range(min(5000, number - start))
            )
        )
    await store.close()


async def memory(report: Report, number: int = 100_000, most: int = 120) -> None:
    """Resident memory and start-up with many delayed jobs, and the processor at rest."""
    later = time.time_ns() // 1_000_000 + DAY_MS
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as full:
        await fill(Path(full), number, later, "http://127.0.0.1:9/a")
        starts: dict[str, list[float]] = {empty: [], full: []}
        for _ in range(ROUNDS):
            for folder, taken in starts.items():
                started = time.perf_counter()
                async with lq(9, Path(folder)):
                    taken.append(time.perf_counter() - started)
        ratio = statistics.median(starts[full]) / statistics.median(starts[empty])
        report(f"start with {number:,} delayed jobs / empty", f"{ratio:.2f}", "<= 1.5", "")
        async with lq(9, Path(full)) as daemon:
            await asyncio.sleep(3)
            before = daemon.cpu_s()
            await asyncio.sleep(10)
            idle = (daemon.cpu_s() - before) / 10
            report(
                f"resident memory with {number:,} delayed jobs", f"{daemon.rss_mb():.0f} MB",
                f"<= {most} MB", "",
            )  # fmt: skip
            report("processor at rest", f"{idle:.2%}", "< 0.1 %", "over 10 s")


async def million(report: Report) -> None:
    """A million delayed jobs at rest."""
    await memory(report, 1_000_000, 160)


async def backlog(report: Report) -> None:
    """A million due jobs: the rate at the start and after half a million, and memory."""
    handler_port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        due_at = time.time_ns() // 1_000_000 - DAY_MS
        await fill(folder, 1_000_000, due_at, f"http://127.0.0.1:{handler_port}/a")
        async with peer("handler", str(handler_port), port=handler_port):
            bare = await bare_rate(handler_port, 20_000)
            async with lq(handler_port, folder) as daemon:
                rates = []
                started, done = time.perf_counter(), 0
                while done < 1_000_000:
                    await asyncio.sleep(10)
                    now, seen = time.perf_counter(), await completed(daemon)
                    rates.append((seen - done) / (now - started))
                    started, done = now, seen
                steady = rates[1:-1]
                report(
                    "a million due jobs / bare aiohttp client loop",
                    f"{statistics.median(steady) / bare:.2f}", ">= 0.7 * dispatch",
                    f"{min(steady):.0f} to {max(steady):.0f}/s, {daemon.rss_mb():.0f} MB",
                )  # fmt: skip


async def completed(daemon: Daemon) -> int:
    count: int = (await daemon.ask("GET", "/queues/q"))["completed"]
    return count


def fsync_ms() -> float:
    """The median time of one small write and fsync here."""
    with tempfile.NamedTemporaryFile() as file:
        taken = []
        for _ in range(200):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


BENCHES: dict[str, Callable[[Report], Awaitable[None]]] = {
    "push": push,
    "batch": batch.compare,
    "dispatch": dispatch,
    "latency": latency,
    "memory": memory,
    "quirrel": quirrel.compare,
    "pages": pages.compare,
    "million": million,
    "backlog": backlog,
}
SLOW = {"pages", "million", "backlog"}


async def main(names: list[str]) -> None:
    console = Console()
    if "all" in names:
        names = list(BENCHES)
    table = Table("what", "measured", "wanted", "figures of this run")

    def report(what: str, measured: str, target: str, detail: str) -> None:
        table.add_row(what, measured, target, detail)
        console.print(f"[dim]{what}: {measured} {detail}[/dim]")

    report("one fsync of 4 KiB, median", f"{fsync_ms():.2f} ms", "", "")
    for name in names or [name for name in BENCHES if name not in SLOW]:
        await BENCHES[name](report)
    console.print(table)


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(BENCHES) - {"all"}:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHES)} and all")
    uvloop.run(main(sys.argv[1:]))
