"""Whatever comes, an endpoint answers; what is not signed runs nothing."""

from __future__ import annotations

from typing import Any, TypedDict

from hypothesis import given, settings
from hypothesis import strategies as st

from lq import Job, Queue, Request, Response
from tests.support.signed import SECRET, call


class Welcome(TypedDict):
    name: str
    age: int


RAN: list[Job[Welcome]] = []
QUEUE = Queue[Welcome]("q", secret=SECRET)


@QUEUE.handler
def remember(job: Job[Welcome]) -> dict[str, Any]:
    RAN.append(job)
    return {"key": job.key, "headers": dict(job.headers), "at": job.fire_time}


NAMES = (
    *("x-lq-signature", "X-LQ-ID", "x-lq-queue", "x-lq-key", "x-lq-attempt", "x-lq-max-attempts"),
    *("x-lq-schedule", "x-lq-fire-time", "x-lq-missed", "content-type", "Content-Length"),
    *("webhook-id", "webhook-timestamp", "webhook-signature", "traceparent", "", "é"),
)
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["v=1,t=1700000000000,s=" + "0" * 64, "%ff%", "9" * 400, "2026-13-40T99:00:00Z",
     "text/x; charset=\x00", "text/x; charset=\udcff", "text/x; charset=undefined",
     "\udcff", "%\udcff%ff",
     'application/vnd.lq.encrypted; v=1; kid=0123456789abcdef; type=""']
)  # fmt: skip
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=6).map(tuple)
BODIES = st.binary(max_size=60) | st.sampled_from([b"", b"null", b"{}", b'{"name":"A","age":1}'])
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "", "É"])


@settings(max_examples=100, deadline=None)
@given(METHODS, st.text(max_size=20), HEADERS, BODIES)
def test_a_stranger_is_answered_and_runs_nothing(
    method: str, path: str, headers: Any, body: bytes
) -> None:
    before = len(RAN)
    response = QUEUE.respond_sync(Request(method, path, headers, body))
    assert isinstance(response, Response)
    assert response.status == (
        200 if method == "HEAD" else 405 if method in {"OPTIONS", "", "É"} else 401
    )
    assert len(RAN) == before


TEXT_QUEUE = Queue[str]("q", secret=SECRET)
TEXT_QUEUE.handler(lambda it: it)


@settings(max_examples=100, deadline=None)
@given(HEADERS, BODIES)
def test_lq_is_answered_whatever_its_headers_say(headers: Any, body: bytes) -> None:
    signed = call(body, None)
    # A signature in the place of a queue's name would be logged, and taken for one that leaked.
    kept = tuple(
        (name, text)
        for name, text in headers
        if not name.lower().startswith(("x-lq-sig", "x-lq-id", "webh")) and "s=000" not in text
    )
    request = signed._replace(headers=(*signed.headers, *kept))
    assert TEXT_QUEUE.respond_sync(request).status in {200, 422, 500}
    response = QUEUE.respond_sync(request)
    assert response.status in {200, 422, 500}
    if body == b'{"name":"A","age":1}' and not any("encrypted" in text for _, text in kept):
        assert response.status == 200
