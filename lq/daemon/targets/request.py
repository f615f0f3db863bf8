"""The headers of a call: what protocol.md section 6 lists, signed at this moment. Pure.

Invariant: a job's own headers come last and cannot take the place of lq's (the wire refused
those at push); every attempt of a job carries the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote

from lq import __version__
from lq.model import Firing, Job, Run
from lq.signature import sign, sign_webhook, webhook_key
from lq.when import format_instant

USER_AGENT = f"lq/{__version__}"


class Signer:
    """Signs calls: `live` are the secrets in force, `choose` the one that a job's target knows.

    Shape: `callback` is the URL that a run's handler calls back, if it is to.
    """

    def __init__(
        self,
        live: Callable[[], Sequence[str]],
        choose: Callable[[Job], str],
        callback: Callable[[Run], str | None] = lambda _: None,
    ) -> None:
        self._live = live
        self._choose = choose
        self._callback = callback

    def headers(self, run: Run, now: int, span: str) -> dict[str, str]:
        """The headers of a run's call. Shape: `span` is 16 hex digits, new for each attempt."""
        job = run.job
        body = job.payload or b""
        now_s = now // 1000
        headers = {
            "User-Agent": USER_AGENT,
            "x-lq-signature": sign(self._choose(job), body, now),
            "x-lq-id": job.id,
            "x-lq-queue": _quoted(job.queue),
            "x-lq-attempt": str(job.attempt),
            "x-lq-max-attempts": str(job.max_attempts),
            "webhook-id": job.id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": " ".join(
                sign_webhook(_webhook_key(secret), job.id, now_s, body) for secret in self._live()
            ),
            "Idempotency-Key": f'"{job.id}"',
            "traceparent": traceparent(job.id, job.traceparent, span),
        }
        if job.content_type is not None:
            headers["Content-Type"] = job.content_type
        if job.key is not None:
            headers["x-lq-key"] = quote(job.key, safe="")
        if job.firing is not None:
            headers |= _firing(job.firing, job.created_at)
        if (callback := self._callback(run)) is not None:
            headers["x-lq-callback"] = callback
        if job.tracestate is not None:
            headers["tracestate"] = job.tracestate
        if job.headers:
            own = {name.lower() for name in job.headers}
            headers = {name: text for name, text in headers.items() if name.lower() not in own}
            headers.update(job.headers)
        return headers


def _firing(firing: Firing, created_at: int) -> dict[str, str]:
    """Which schedule made a job, for which time, and for how many that were missed."""
    headers = {
        "x-lq-schedule": firing.schedule,
        "x-lq-fire-time": format_instant(created_at if firing.at is None else firing.at),
    }
    if firing.missed:
        headers["x-lq-missed"] = str(firing.missed)
    return headers


_webhook_key = lru_cache(maxsize=8)(webhook_key)


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return quote(text, safe="")


def traceparent(job_id: str, parent: str | None, span: str) -> str:
    """A child span of the caller's, or of a trace that all attempts of the job share."""
    if parent is None:
        return f"00-{blake2b(job_id.encode(), digest_size=16).hexdigest()}-{span}-01"
    _, trace, _, flags = parent.split("-")[:4]
    return f"00-{trace}-{span}-{flags}"
