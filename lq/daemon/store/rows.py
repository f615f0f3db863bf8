"""Rows of the database <-> records of lq.model.

Pure; knows the order of the views job_rows and schedule_rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from lq.backoff import format_retry, parse_retry
from lq.model import (
    Accepted,
    Attempt,
    Completion,
    Counts,
    Firing,
    Job,
    LastJob,
    Misfire,
    Origin,
    OutcomeKind,
    Overlap,
    Push,
    Queue,
    QueueSettings,
    RetryPolicy,
    Run,
    Schedule,
    ScheduleSpec,
    Scope,
    State,
    Token,
)
from lq.rate import parse_rate

Row = tuple[Any, ...]

# A payload up to this size comes with its row when rows are JSON; hex doubles it.
INLINE_BYTES = 16 * 1024

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_STATES = {state.value: state for state in State}
_policies: dict[str, RetryPolicy] = {}
_policy_texts: dict[RetryPolicy, str] = {}
_MOST_POLICIES = 1024


def retry_policy(text: str) -> RetryPolicy:
    """Read a stored policy; the few that are in use are kept."""
    policy = _policies.get(text)
    if policy is None:
        policy = parse_retry(text)
        if len(_policies) < _MOST_POLICIES:
            _policies[text] = policy
    return policy


def retry_text(policy: RetryPolicy) -> str:
    """Write a policy for storing."""
    text = _policy_texts.get(policy)
    if text is None:
        text = format_retry(policy)
        if len(_policy_texts) < _MOST_POLICIES:
            _policy_texts[policy] = text
    return text


def headers_text(headers: Mapping[str, str]) -> str | None:
    """Headers as stored: JSON, or NULL for none."""
    return json.dumps(dict(headers), ensure_ascii=False) if headers else None


def headers(text: str | None) -> Mapping[str, str]:
    return json.loads(text) if text else NO_HEADERS


def labels_text(labels: tuple[str, ...]) -> str:
    """Labels as stored: `,a,b,`, so that a search for `,a,` finds whole words only."""
    return f",{','.join(labels)}," if labels else ""


def labels(text: str) -> tuple[str, ...]:
    """Labels as they were given."""
    return tuple(text[1:-1].split(",")) if text else ()


def job(row: Sequence[Any]) -> Job:
    """A Job from a row of job_rows followed by its payload (or NULL)."""
    return Job(
        seq=row[0],
        id=row[1],
        queue=row[2],
        state=_STATES[row[3]],
        created_at=row[4],
        not_before=row[5],
        due_at=row[6],
        target=row[7],
        method=row[8],
        retry=retry_policy(row[9]),
        timeout_ms=row[10],
        key=row[11],
        headers=headers(row[12]),
        content_type=row[13],
        labels=labels(row[14]),
        validate=row[15] == 1,
        failures=row[16],
        interruptions=row[17],
        run_id=row[18],
        last_status=row[19],
        error=row[20],
        expires_at=row[21],
        finished_at=row[22],
        traceparent=row[23],
        tracestate=row[24],
        firing=None if row[25] is None else Firing(row[25], row[26], row[27]),
        completion=Completion.CALLBACK if row[28] else Completion.RESPONSE,
        held_until=row[29],
        payload=row[31],
    )


def queue_id(row: Row) -> int:
    """The queue's key in a row of job_rows."""
    key: int = row[30]
    return key


def accepted(row: Row) -> Accepted:
    """An accepted run from a row of accepted_runs."""
    run_id, started_at, deadline_at, status = row[-4:]
    return Accepted(Run(run_id, job(row), started_at), deadline_at, status)


def firing(made: Firing | None) -> tuple[str | None, int | None, int | None]:
    """A Firing as the columns of a job: its schedule, its time, how many it stands for."""
    return (None, None, None) if made is None else (made.schedule, made.at, made.missed)


def attempt(row: Row) -> Attempt:
    return Attempt(
        n=row[0],
        started_at=row[1],
        ended_at=row[2],
        outcome=OutcomeKind(row[3]) if row[3] else None,
        status=row[4],
        error=row[5],
        headers=headers(row[6]),
        body=row[7] or b"",
        truncated=row[8] == 1,
        log=row[9] or b"",
    )


def queue(row: Row) -> Queue:
    return Queue(
        name=row[0],
        created_at=row[1],
        settings=QueueSettings(
            target=row[2],
            method=row[3],
            headers=json.loads(row[4]) if row[4] else None,
            concurrency=row[5],
            retry=retry_policy(row[6]) if row[6] else None,
            timeout_ms=row[7],
            rate=None if row[8] is None else parse_rate(row[8]),
            burst=row[9],
            fifo=None if row[10] is None else row[10] == 1,
        ),
        paused=row[11] == 1,
        paused_until=row[12],
        pause_reason=row[13],
        paced_until=row[14],
        counts=Counts(
            pending=row[15],
            retry=row[16],
            running=row[17],
            completed=row[18],
            failed=row[19],
            cancelled=row[20],
        ),
        next_due_at=row[21],
    )


def token(row: Row) -> Token:
    return Token(
        name=row[0],
        digest=row[1],
        scopes=frozenset(Scope(word) for word in row[2].split(",")),
        created_at=row[3],
        queues=tuple(json.loads(row[4])),
        expires_at=row[5],
        revoked_at=row[6],
        used_at=row[7],
    )


def options_text(push: Push) -> str:
    """What a schedule pushes as stored: JSON of all but queue and payload."""
    members = msgspec.structs.asdict(push)
    del members["queue"], members["payload"]
    return msgspec.json.encode(members, enc_hook=dict).decode()  # headers may be a read-only view


def schedule(row: Sequence[Any], payload: bytes = b"") -> Schedule:
    """A Schedule from a row of schedule_rows."""
    options = msgspec.json.decode(row[11])
    return Schedule(
        id=row[0],
        spec=ScheduleSpec(
            rule=row[1],
            zone=row[2],
            key=row[3],
            times=row[4],
            start_at=row[5],
            until_at=row[6],
            jitter_ms=row[7],
            misfire=Misfire(row[8]),
            overlap=Overlap(row[9]),
            push=msgspec.convert({**options, "queue": row[10], "payload": payload}, Push),
        ),
        created_at=row[12],
        anchor_at=row[13],
        seen_at=row[14],
        next_at=row[15],
        fired=row[16],
        last_at=row[17],
        last=None if row[18] is None else _last_job(row),
        paused=row[23] == 1,
        reason=row[24],
        origin=Origin(row[25]),
    )


def _last_job(row: Sequence[Any]) -> LastJob:
    if row[19] is None:
        return LastJob(id=row[18])
    return LastJob(
        id=row[18],
        state=State(row[19]),
        failures=row[20],
        finished_at=row[21],
        error=row[22],
        queue=row[27],
    )
