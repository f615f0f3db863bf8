"""docs/listen.md: each of its steps, carried out as it stands there."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from lq.signature import verify

from .endpoint import Endpoint
from .guide import DOCS, blocks, run
from .process import LQ, PATIENCE_S, Daemon, wait_until
from .test_cli_watch import Lines

THERE = "http://localhost:3000"


@contextmanager
def typed_in(daemon: Daemon, line: str, **environ: str) -> Iterator[Lines]:
    """A command of the guide that goes on until Ctrl-C; what it prints."""
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {line}"],
        cwd=daemon.folder,
        env=daemon.environ | {"PATH": os.environ["PATH"]} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        shown, notes = Lines(process.stdout), Lines(process.stderr)
        assert " of mail" in notes.next()
        yield shown
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        notes.rest()


def test_the_guide(lq: Daemon, endpoint: Endpoint) -> None:
    (making,), (looking,) = blocks_before(), blocks("listen.md", "Look on")
    (answering,) = blocks("listen.md", "Answer in place of the target")
    once, again, sample = blocks("listen.md", "Once more, while you fix it")[0].splitlines()
    given = run(lq, making).split()
    token = next(word for word in given if word.startswith("lq_"))
    theirs = {"LQ_API_URL": lq.url, "LQ_TOKEN": token, "LQ_SECRET": endpoint.secret}
    with Endpoint(endpoint.secret) as local:

        def here(line: str) -> str:
            return line.strip().replace(THERE, local.url().rstrip("/")).replace("lq ", f"{LQ} ", 1)

        with typed_in(lq, here(looking), **theirs) as shown:
            item = lq.client.push("mail", b"{}", target=endpoint.url("/hooks/mail"), key="user-7")
            assert endpoint.next().id == local.next().id == item["id"]
            parts = shown.next().split("  ")
            assert parts[1:5] == ["mail (user-7)", "1/6", "POST /hooks/mail", "200"]
            assert parts[6:] == ["signature verified", "copy"]
        with typed_in(lq, here(answering), **theirs) as shown:
            item = lq.client.push("mail", b"{}", target="https://shop.example/hooks/mail")
            call = local.next()
            verify(call.headers["x-lq-signature"], b"{}", [endpoint.secret], call.at)
            wait_until(lambda: lq.client.item(item["id"])["state"] == "COMPLETED")
            run(lq, here(once), id=item["id"])
            run(lq, here(again), id=item["id"])
            run(lq, here(sample))
            assert [local.next().path for _ in range(3)] == ["/hooks/mail"] * 3
        assert len(lq.client.attempts(item["id"])) == 1
        assert endpoint.none_left()


def blocks_before() -> list[str]:
    """The block above the first heading."""
    text = (DOCS / "listen.md").read_text(encoding="utf-8").partition("\n## ")[0]
    return [text.partition("```sh\n")[2].partition("```")[0]]
