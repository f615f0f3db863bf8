"""An application for platforms, whose handlers answer with the payload they were given."""

from __future__ import annotations

from typing import Any

from lq import Job, Queue
from lq.sdk import asgi, aws_lambda, wsgi

mirror = Queue[Any]("mirror", path="/lq/mirror")
accented = Queue[Any]("büro", path="/lq/b%C3%BCro")
later = Queue[Any]("later", path="/lq/later", completion="callback")


@later.handler
@mirror.handler
async def answer(job: Job[Any]) -> Any:
    return job.payload


@accented.handler
def answer_accented(job: Job[Any]) -> Any:
    return job.payload


def others(event: Any, context: Any) -> Any:
    return {"event": event, "function": context.invoked_function_arn}


handler = aws_lambda.handler(mirror, accented, later, max_body=1000)
handler_with_app = aws_lambda.handler(mirror, app=others)
on_asgi = asgi.Handlers(mirror, accented, later)
on_wsgi = wsgi.Handlers(mirror, accented, later)
