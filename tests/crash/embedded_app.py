"""An application with an orchestrator in it, to be killed: `python -m ... DATABASE JOURNAL MODE`.

Says on stdout what was acknowledged; its handler writes down each run in the journal. As `produce`
it enqueues for ever, as `finish` it ends when nothing waits or runs any more.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys

from lq import Job, Orchestrator
from lq.sdk.records import Status


def orchestrator(database: str, journal: str) -> Orchestrator:
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def work(job: Job[str]) -> str:
        os.write(file, f"{job.id}\n".encode())
        await asyncio.sleep(0.002)
        return job.payload

    def work_in_a_thread(job: Job[str]) -> str:
        os.write(file, f"{job.id}\n".encode())
        return job.payload

    return Orchestrator({"work": work, "thread": work_in_a_thread}, db=f"sqlite:///{database}")


async def produce(app: Orchestrator) -> None:
    async with app:
        for number in itertools.count():
            name = "thread" if number % 3 == 0 else "work"
            delay = f"{number % 7} ms"
            record = await app.enqueue(
                name, f"{number}", delay=delay, key=f"{os.getpid()}-{number}"
            )
            print(record.id, flush=True)


async def finish(app: Orchestrator, ids: list[str]) -> None:
    async with app:
        for job_id in ids:
            record = None
            while record is None or record.status in {Status.SCHEDULED, Status.RUNNING}:
                record = await app.job(job_id)
                assert record is not None, f"{job_id} is lost"
            print(job_id, record.status, flush=True)


if __name__ == "__main__":
    made = orchestrator(sys.argv[1], sys.argv[2])
    if sys.argv[3] == "produce":
        asyncio.run(produce(made))
    else:
        asyncio.run(finish(made, sys.stdin.read().split()))
