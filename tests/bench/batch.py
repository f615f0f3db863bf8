"""Batches of 1,000: through engine and store, and over HTTP, against bare SQLite."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lq.batch import Entry
from lq.client import AsyncClient
from lq.clock import SystemClock
from lq.config import Config, EgressConfig, Validate
from lq.daemon.main import daemon
from lq.daemon.store.migrate import migrate
from lq.daemon.store.queries import in_chunks, over_rows
from lq.model import Push
from tests.bench.peers import BODY
from tests.bench.processes import lq

ROUNDS = 3
SIZE = 1000
BATCHES = 60
ENTRY: dict[str, Any] = {
    "payload": json.loads(BODY),
    "target": "http://127.0.0.1:9/a",
    "delay": "1d",
}

Report = Callable[[str, str, str, str], None]


async def compare(report: Report) -> None:
    """What a batch costs beside the bare inserts of as many rows; and that memory stays flat."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as the daemon does it
    bare: list[float] = []
    ours: list[float] = []
    http: list[float] = []
    for _ in range(ROUNDS):
        bare.append(bare_rate())
        ours.append(await engine_rate())
        http.append(await http_rate(report if len(http) == ROUNDS - 1 else None))
    middle = [statistics.median(rates) for rates in (bare, ours, http)]
    report(
        "batches of 1,000, engine and store / bare SQLite",
        f"{middle[1] / middle[0]:.2f}",
        ">= 0.6",
        f"{middle[1]:.0f}/s against {middle[0]:.0f}/s; wanted 60,000/s on two cores",
    )
    report(
        "batches of 1,000 over HTTP, two connections / engine and store",
        f"{middle[2] / middle[1]:.2f}",
        "",
        f"{middle[2]:.0f}/s",
    )


def bare_rate() -> float:
    """The same rows into the same tables, committed by the thousand. Units: rows a second."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        connection.execute("INSERT INTO queues (name, created_at) VALUES ('q', 0)")
        batches = [[_row(number * SIZE + row) for row in range(SIZE)] for number in range(BATCHES)]
        payloads = [[(row[0], BODY) for row in batch] for batch in batches]
        started = time.perf_counter()
        for jobs, bodies in zip(batches, payloads, strict=True):
            connection.execute("BEGIN IMMEDIATE")
            for name, rows in (("insert_jobs", jobs), ("insert_payloads", bodies)):
                for size, values in in_chunks(rows):
                    connection.execute(over_rows(name, size), values)
            connection.execute("COMMIT")
        took = time.perf_counter() - started
        connection.close()
    return SIZE * BATCHES / took


def _row(seq: int) -> tuple[object, ...]:
    return (
        *(seq + 1, f"job_{seq:032x}", 1, None, "PENDING", 0, 0, 1 << 41, None, None),
        *(ENTRY["target"], "POST", None, "application/json", "5", 60_000, "", True),
        *(None, None, None, False),
    )


async def engine_rate() -> float:
    """Batches through an engine of this process, two at once. Units: jobs a second."""
    with tempfile.TemporaryDirectory() as name:
        config = Config(
            data_dir=Path(name) / "data",
            socket=Path(name) / "socket",
            listen="127.0.0.1:0",
            egress=EgressConfig(allow=("127.0.0.1:9",)),
            validate=Validate(default="none"),
        )
        push = Push(queue="q", payload=BODY, target=ENTRY["target"], delay_ms=86_400_000)
        entries = [Entry(push)] * SIZE
        async with daemon(config, SystemClock()) as running:

            async def some() -> None:
                for _ in range(BATCHES // 2):
                    await running.engine.batches.push(entries)

            started = time.perf_counter()
            await asyncio.gather(some(), some())
            return SIZE * BATCHES / (time.perf_counter() - started)


async def http_rate(report: Report | None) -> float:
    """Batches over HTTP from this process, two at once. Units: jobs a second."""
    lines = b"".join(json.dumps(ENTRY).encode() + b"\n" for _ in range(SIZE))
    async with lq(9) as running:
        client = AsyncClient(f"http://127.0.0.1:{running.port}", running.token)

        async def some() -> None:
            for _ in range(BATCHES // 2):
                await client.push_batch("q", lines)

        await client.push_batch("q", lines)
        before = running.rss_mb()
        started = time.perf_counter()
        await asyncio.gather(some(), some())
        took = time.perf_counter() - started
        if report is not None:
            grown = running.rss_mb() - before
            detail = f"{SIZE * BATCHES:,} jobs"
            report("memory that batches over HTTP take", f"{grown:.0f} MB", "<= 40 MB", detail)
        await client.close()
    return SIZE * BATCHES / took
