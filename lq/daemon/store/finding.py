"""The queries of the SQLite store that find jobs among many: pages of them, and their failures.

Owns: which index a filter is answered from, and how far one answer looks.

Invariant: an answer looks at no more than a stretch of jobs, however many there are and whatever
the filter. What an index does not answer whole is looked for stretch by stretch: a page may be
short or empty, and its cursor goes on behind what was looked through. Pages are keyset pages:
rows that come or go in between shift nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from lq.daemon.store import rows
from lq.daemon.store.reading import Fetch
from lq.daemon.store.rows import Row
from lq.errors import ValidationError
from lq.finding import Failure, FailureFilter
from lq.model import Job, JobFilter, Page, State
from lq.patterns import meant

# Jobs that one answer looks at, and at a time; one far from others costs up to 10 us.
_STRETCH = 3000
_CHUNK = 1000
_NEWEST = (1 << 62, 1 << 62)
_FIRST = (0, 0, 0)
# Kinds of failures are looked up one by one, at some 20 us.
_KINDS = 1000

Place = tuple[int, ...]
Places = Callable[[Place, int], list[Row]]
"""The places of up to so many jobs behind a place, in order; the last number of each is its seq."""


class Found(NamedTuple):
    """The places of jobs that match, and the place to go on from, if there may be more."""

    places: list[Row]
    more: Place | None


def unfinished_at(fetch: Fetch, wanted: JobFilter) -> tuple[list[int], str | None]:
    """The seqs of running, then waiting jobs behind the cursor, and the next cursor."""
    tests = _tests(fetch, wanted)
    if tests is None:
        return [], None
    part, after = _cursor(wanted.cursor, {"r": 1, "p": 3}, start=("r", (0,)))
    running = part == "r" and wanted.state in {None, State.RUNNING.value}
    found: list[int] = []
    if running:
        stateless = tests | {"state": None}  # all of them run
        ran = _gather(fetch, partial(_running, fetch), stateless, after, wanted.limit)
        found = [row[-1] for row in ran.places]
        if ran.more is not None:
            return found, f"r.{ran.more[0]}"
    if wanted.state == State.RUNNING.value:
        return found, None
    after = _FIRST if part == "r" else after
    waiting, tests = _waiting(fetch, wanted, tests)
    if len(found) == wanted.limit:  # full: but is there anything behind it?
        behind = _gather(fetch, waiting, tests, _FIRST, 1)
        anything = behind.places or behind.more
        return found, "p.0.0.0" if anything else None
    rest = _gather(fetch, waiting, tests, after, wanted.limit - len(found))
    found += [row[-1] for row in rest.places]
    return found, None if rest.more is None else f"p.{'.'.join(map(str, rest.more))}"


def finished_at(fetch: Fetch, wanted: JobFilter) -> tuple[list[int], str | None]:
    """The seqs of finished jobs behind the cursor, newest first, and the next cursor."""
    tests = _tests(fetch, wanted)
    if tests is None:
        return [], None
    _, after = _cursor(wanted.cursor, {"f": 2}, start=("f", _NEWEST))
    if wanted.to_at is not None:
        after = min(after, (wanted.to_at, 0))
    tests |= {"created_from": None, "created_to": None}
    statement, fixed, answered = _index(wanted, tests)
    places = partial(_finished, fetch, statement, {**fixed, "from_at": wanted.from_at or 0})
    tests |= dict.fromkeys(answered)
    found = _gather(fetch, places, tests, after, wanted.limit)
    more = None if found.more is None else f"f.{found.more[0]}.{found.more[1]}"
    return [row[-1] for row in found.places], more


def unfinished(fetch: Fetch, wanted: JobFilter) -> Page[Job]:
    """Running jobs, then waiting ones, behind the cursor."""
    return _page(fetch, *unfinished_at(fetch, wanted))


def finished(fetch: Fetch, wanted: JobFilter) -> Page[Job]:
    """Finished jobs, newest first, behind the cursor."""
    return _page(fetch, *finished_at(fetch, wanted))


def failures(fetch: Fetch, wanted: FailureFilter) -> Page[Failure]:
    """Kinds of failures, the last seen first."""
    after = _failure_cursor(wanted.cursor)
    allowed = _allowed(fetch, wanted)
    if wanted.fingerprint is not None:
        kind = _failure(fetch, wanted.fingerprint, allowed, _NEWEST)
        found = [kind] if kind is not None and _shown(kind, wanted) else []
        return Page(tuple(found) if wanted.cursor is None else ())
    found = []
    seen: set[str] = set()
    looked_at, all_of_them = _failure_places(fetch, wanted, after, allowed)
    for place in looked_at:
        if len(found) == wanted.limit:
            break
        after = place
        if place[1] in seen:
            continue
        seen.add(place[1])
        kind = _failure(fetch, place[1], allowed, place)
        if kind is not None and _shown(kind, wanted):
            found.append(kind)
    else:
        if all_of_them:
            return Page(tuple(found))
    return Page(tuple(found), f"k.{after[0]}.{after[1]}.{after[2]}")


def _failure_places(
    fetch: Fetch, wanted: FailureFilter, after: Sequence[Any], allowed: set[int] | None
) -> tuple[list[Row], bool]:
    """The next places in these queues, if there are any, and whether there are no more.

    Of others nothing may be told, not even in a cursor; so they are looked through to their end.
    """
    while True:
        looked = fetch(
            "failure_places",
            at=after[0], fingerprint=after[1], queue=after[2],
            from_at=wanted.from_at or 0, limit=_KINDS,
        )  # fmt: skip
        found = [place for place in looked if allowed is None or place[2] in allowed]
        if found or len(looked) < _KINDS:
            return found, len(looked) < _KINDS
        after = looked[-1]


def _failure(
    fetch: Fetch, fingerprint: str, allowed: set[int] | None, place: Row | Place
) -> Failure | None:
    """A kind, as far as these queues have it; None where a page before this place had it."""
    parts = [
        part
        for part in sorted(fetch("failure_in_queues", fingerprint=fingerprint), reverse=True)
        if allowed is None or part[1] in allowed
    ]
    if not parts or (parts[0][0], parts[0][1]) > (place[0], place[-1]):
        return None
    last_at, queue, name, *_ = parts[0]
    [(job, target, status, error)] = fetch("last_failure", fingerprint=fingerprint, queue=queue)
    return Failure(
        fingerprint=fingerprint,
        target=target,
        status=status,
        error=error,
        number=sum(part[3] for part in parts),
        first_at=min(part[4] for part in parts),
        last_at=last_at,
        queue=name,
        queues=tuple(part[2] for part in parts),
        job=job,
    )


def _shown(kind: Failure, wanted: FailureFilter) -> bool:
    target, error = wanted.target, wanted.error
    if target is not None and not (
        kind.target.startswith(target[:-1]) if target.endswith("*") else kind.target == target
    ):
        return False
    if wanted.from_at is not None and kind.last_at < wanted.from_at:
        return False
    return error is None or error.lower() in (kind.error or "").lower()


def _running(fetch: Fetch, after: Place, limit: int) -> list[Row]:
    return fetch("running_places", run=after[0], limit=limit)


def _waiting(
    fetch: Fetch, wanted: JobFilter, tests: dict[str, Any]
) -> tuple[Places, dict[str, Any]]:
    """The places of waiting jobs, from the index that knows most; what it leaves to be tested."""
    left = tests | {"state": None, "retrying": {"PENDING": 0, "RETRY": 1}.get(wanted.state or "")}
    statement, fixed = "waiting_places", {}
    if wanted.schedule is not None:
        statement, fixed = "waiting_places_of_schedule", {"of": wanted.schedule}
        left["schedule"] = None
    elif wanted.queue is not None:
        statement, fixed = "waiting_places_of_queue", {"of": tests["queue"]}
        if wanted.key is not None:
            statement = "waiting_places_of_key"
            fixed = {"of": wanted.key, "queue_of": tests["queue"]}
        left |= {"queue": None, "key": None}

    def places(after: Place, limit: int) -> list[Row]:
        place = {"queue": after[0], "due_at": after[1], "seq": after[2]}
        return fetch(statement, **fixed, **place, limit=limit)

    return places, left


def _finished(
    fetch: Fetch, statement: str, fixed: dict[str, Any], after: Place, limit: int
) -> list[Row]:
    return fetch(statement, at=after[0], seq=after[1], limit=limit, **fixed)


def _index(wanted: JobFilter, tests: dict[str, Any]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """The index with the fewest finished jobs for a filter, and what of the filter it answers."""
    queue = tests["queue"]
    bad = wanted.state in {State.FAILED.value, State.CANCELLED.value}
    if wanted.fingerprint is not None:
        if queue is not None:
            fixed = {"of": wanted.fingerprint, "queue_of": queue}
            return "finished_places_of_fingerprint_in_queue", fixed, ("fingerprint", "queue")
        return "finished_places_of_fingerprint", {"of": wanted.fingerprint}, ("fingerprint",)
    if wanted.key is not None:
        return "finished_places_of_key", {"of": wanted.key}, ("key",)
    if wanted.schedule is not None:
        return "finished_places_of_schedule", {"of": wanted.schedule}, ("schedule",)
    if wanted.label is not None:
        return "finished_places_of_label", {"of": wanted.label}, ("label",)
    if bad and queue is not None:
        fixed = {"of": wanted.state, "queue_of": queue}
        return "finished_places_of_state_in_queue", fixed, ("state", "queue")
    if bad:
        return "finished_places_of_state", {"of": wanted.state}, ("state",)
    if queue is not None:
        return "finished_places_of_queue", {"of": queue}, ("queue",)
    return "finished_places", {}, ()


def _gather(fetch: Fetch, places: Places, tests: dict[str, Any], after: Place, limit: int) -> Found:
    """Up to `limit` places that pass the tests, from a stretch of jobs behind a place."""
    found: list[Row] = []
    looked, size = 0, limit + 1
    filtered = any(value is not None for value in tests.values())
    while True:
        ahead = places(after, size)
        passed = _passing(fetch, ahead, tests) if filtered else ahead
        for row in passed:
            if len(found) == limit:
                return Found(found, _place(found[-1]))
            found.append(row)
        if len(ahead) < size:
            return Found(found, None)
        looked += size
        size = min(2 * size, max(_CHUNK, limit + 1))
        after = _place(ahead[-1])
        if looked >= _STRETCH:
            return Found(found, after)


def _passing(fetch: Fetch, ahead: Sequence[Row], tests: dict[str, Any]) -> list[Row]:
    if not ahead:
        return []
    seqs = json.dumps([row[-1] for row in ahead])
    passed = {seq for (seq,) in fetch("matching", seqs=seqs, **tests)}
    return [row for row in ahead if row[-1] in passed]


def _place(row: Row) -> Place:
    return tuple(row)


def _page(fetch: Fetch, seqs: Sequence[int], cursor: str | None) -> Page[Job]:
    found = {row[0]: rows.job(row) for row in fetch("jobs_at", seqs=json.dumps(seqs))}
    return Page(tuple(found[seq] for seq in seqs), cursor)


def _allowed(fetch: Fetch, wanted: JobFilter | FailureFilter) -> set[int] | None:
    """The queues that a filter lets through; None for all."""
    queue, patterns = wanted.queue, wanted.queues
    unsaid = set(wanted.unsaid) if wanted.error is not None else set()
    if queue is not None and queue in unsaid:
        return set()
    if queue is not None:
        reached = meant(queue, patterns)
        return {number for (number,) in fetch("queue_id", name=queue)} if reached else set()
    if not patterns and not unsaid:
        return None
    return {
        number
        for number, name in fetch("queue_names")
        if name not in unsaid and meant(name, patterns)
    }


def _tests(fetch: Fetch, wanted: JobFilter) -> dict[str, Any] | None:
    """What a job has to pass; None when no queue can match."""
    allowed = _allowed(fetch, wanted)
    if allowed is not None and not allowed:
        return None
    one = wanted.queue is not None
    begins = wanted.target is not None and wanted.target.endswith("*")
    return {
        "queue": next(iter(allowed)) if one and allowed else None,
        "queues": None if one or allowed is None else json.dumps(sorted(allowed)),
        "state": wanted.state,
        "retrying": None,
        "schedule": wanted.schedule,
        "key": wanted.key,
        "label": None if wanted.label is None else f",{wanted.label},",
        "target": None if begins else wanted.target,
        "beginning": wanted.target[:-1] if begins and wanted.target is not None else None,
        "error": wanted.error,
        "fingerprint": wanted.fingerprint,
        "created_from": wanted.from_at,
        "created_to": wanted.to_at,
    }


def _cursor(
    text: str | None, parts: dict[str, int], start: tuple[str, tuple[int, ...]]
) -> tuple[str, tuple[int, ...]]:
    """Read a cursor `part.n.n…` that an earlier page gave."""
    if text is None:
        return start
    part, *numbers = text.split(".")
    fits = parts.get(part) == len(numbers) and all(
        number.isascii() and number.isdigit() and len(number) < 19 for number in numbers
    )
    if not fits:
        raise ValidationError.of("cursor", "not a cursor that this listing gave")
    return part, tuple(int(number) for number in numbers)


def _failure_cursor(text: str | None) -> tuple[int, str, int]:
    if text is None:
        return _NEWEST[0], "", 0
    part, _, rest = text.partition(".")
    at, _, rest = rest.partition(".")
    name, _, queue = rest.partition(".")
    _cursor(f"{part}.{at}.{queue}", {"k": 2}, ("k", _NEWEST))
    return int(at), name, int(queue)
