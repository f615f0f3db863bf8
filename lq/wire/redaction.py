"""What a queue keeps to itself: payloads, headers and answers, taken out before they are shown.

Owns: the words of a queue's `redact`, and what each of them takes out. The handler is called
with all of it; redaction is for those who look at items, not for those who carry them out.

Invariant: nothing that a word covers is left in what comes out, the quotation of an answer in
the error of its attempt included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from lq.model import Attempt, Job, LastJob, LogPart, Schedule
from lq.wire.fields import REDACTED, is_token
from lq.wire.parts import is_json_type, redacted

BODY: Final = "body"
RESPONSE: Final = "response"
HEADER: Final = "header:"

_QUOTING: Final = re.compile(
    r"\b(status [0-9]+|redirect [0-9]+ ->|callback failed|exit [0-9]+"
    r"|(?:ended|killed) by SIG\w+(?: \(\w+\))?)(:? ).*",
    re.DOTALL,
)

Hide = Callable[[str], Sequence[str]]
"""Tells the words of a queue's `redact` by its name. Nothing is encoded without asking it."""

Some = TypeVar("Some", bound=Attempt | Job | LastJob)


def check_redaction(word: str) -> str:
    """A word of `redact`, header names in lower case. Raises: ValueError."""
    name = word.removeprefix(HEADER)
    if word in {BODY, RESPONSE}:
        return word
    if name == word or not is_token(name):
        raise ValueError(
            f'expected "{BODY}", "{RESPONSE}" or "{HEADER}NAME" with the name of a header,'
            f" got {word!r}"
        )
    return f"{HEADER}{name.lower()}"


def redact_job(job: Job, hide: Hide) -> Job:
    """A job as it may be shown."""
    words = hide(job.queue)
    if not words:
        return job
    job = _without_answer(job, words)
    return replace(
        job,
        headers=redacted(job.headers, words),
        payload=_payload(job.payload, job.content_type, words) if job.payload else job.payload,
    )


def redact_attempt(attempt: Attempt, words: Sequence[str]) -> Attempt:
    """An attempt as it may be shown."""
    if RESPONSE not in words:
        return attempt
    return replace(
        _without_answer(attempt, words),
        headers=dict.fromkeys(attempt.headers, REDACTED),
        body=REDACTED.encode() if attempt.body else b"",
        log=REDACTED.encode() if attempt.log else b"",
    )


def redact_log(part: LogPart, words: Sequence[str]) -> LogPart:
    """A part of what was written, as it may be shown."""
    if RESPONSE not in words or not part.data:
        return part
    return replace(part, data=REDACTED.encode())


def redact_schedule(schedule: Schedule, hide: Hide) -> Schedule:
    """A schedule as it may be shown; of its last job, what that one's queue shows."""
    push, last = schedule.spec.push, schedule.last
    words = hide(push.queue)
    if last is not None:
        last = _without_answer(last, words if last.queue is None else hide(last.queue))
    if words:
        push = replace(
            push,
            headers=redacted(push.headers, words),
            payload=_payload(push.payload, push.content_type, words),
        )
    return replace(schedule, spec=replace(schedule.spec, push=push), last=last)


def redact_error(error: str | None, words: Sequence[str]) -> str | None:
    """The text of an error without what it quotes of an answer."""
    if error is None or RESPONSE not in words:
        return error
    return _QUOTING.sub(rf"\1\2{REDACTED}", error)


def _without_answer(some: Some, words: Sequence[str]) -> Some:
    return replace(some, error=redact_error(some.error, words))


def _payload(payload: bytes, content_type: str | None, words: Sequence[str]) -> bytes:
    """A payload of the same type that says nothing, where there is one."""
    if not payload or BODY not in words:
        return payload
    return f'"{REDACTED}"'.encode() if is_json_type(content_type) else REDACTED.encode()
