"""Schedules that stand in an app's code, made again at each of its starts.

`schedule` is written beside the handler, at the top of a module, and registers at once: that is
what works everywhere, because serverless platforms and WSGI servers tell no app that it has
started. To register an unchanged schedule changes nothing, not even its next run.

A daemon that is away must not keep an app from starting:
that is logged, and tried again when lq next calls. What lq refuses is an error of the app, and is
raised. Where an app is imported but does not run, as in its tests or while it is being built,
LQ_REGISTER=off keeps all of it at home.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar, Unpack

from lq.sdk.codec import NOTHING
from lq.sdk.later import LATER
from lq.sdk.options import ScheduleOptions, written
from lq.sdk.queue import Queue

T = TypeVar("T")
Json = dict[str, Any]


def schedule(
    rule: str,
    queue: Queue[T],
    payload: T = NOTHING,
    *,
    key: str,
    timezone: str | None = None,
    **options: Unpack[ScheduleOptions],
) -> Json | None:
    """Let a queue get a job whenever a rule says so; the schedule as lq answered it.

    Shape: `rule` is a cron expression, a nickname such as "@daily", or an interval ("E=90s").
    The key names the schedule, over all queues: under the same key it is changed, not doubled.
    None is returned when lq could not be reached, or LQ_REGISTER is "off".

    Raises: PayloadError, ValidationError or ApiError for what is wrong with it.
    """
    told = written(options, ScheduleOptions)
    body, told = queue.request(payload, told, key)
    told |= {"key": key, "tz": timezone}
    return register(key, rule, queue, body, told)


def register(key: str, rule: str, queue: Queue[Any], body: bytes, told: Json) -> Json | None:
    """Make a schedule of what `queue.request` gave, now or when lq can be reached."""
    if os.environ.get("LQ_REGISTER", "").lower() in {"off", "0", "false", "no"}:
        return None

    def wish() -> Json:
        return queue.daemon.impatient_client().create_schedule(rule, queue.name, body, **told)

    return LATER.now_or_later(f"the schedule {key}", wish)
