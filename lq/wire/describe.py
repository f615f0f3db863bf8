"""What requests may say, field by field, as JSON Schema: for the description of the API.

Owns: a sentence, a schema and an example for each field. Which fields there are, the decoders'
own tables say. Never reads a request.

Invariant: a schema takes all that its decoder takes (but for words in the other case), and may
take more: that a duration ends at ten years is beyond a pattern, and is said in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lq.activity import Span
from lq.event import VERBS
from lq.model import Completion, IfExists, Misfire, Overlap, Scope
from lq.rate import MAX_COUNT
from lq.wire import fields
from lq.wire.activity import ACTIVITY_QUERY
from lq.wire.activity import ANSWERS as ACTIVITY_ANSWERS
from lq.wire.backup import ANSWERS as BACKUP_ANSWERS
from lq.wire.backup import BACKUP_QUERY, PART_QUERY, RELEASE_QUERY
from lq.wire.batch import BATCH_HEADERS
from lq.wire.batch import ENTRY as ENTRY_MEMBERS
from lq.wire.decode import (
    ATOMIC_QUERY,
    DEEP_QUERY,
    DRY_QUERY,
    EDIT_HEADERS,
    FAIL_HEADERS,
    FORCE_QUERY,
    ITEM_QUERY,
    LOG_QUERY,
    OVERVIEW_QUERY,
    PUSH_HEADERS,
    ROTATION_QUERY,
    pause_query,
    queue_members,
    token_members,
)
from lq.wire.decode_schedule import (
    CALENDAR_QUERY,
    CRON_QUERY,
    MAX_FIRINGS,
    MAX_TIMES,
    SCHEDULE_EDIT_HEADERS,
    SCHEDULE_HEADERS,
    SCHEDULES_QUERY,
    TIMES_QUERY,
)
from lq.wire.encode import ANSWERS as ITEM_ANSWERS
from lq.wire.encode_attention import ANSWERS as ATTENTION_ANSWERS
from lq.wire.encode_batch import ANSWERS as BATCH_ANSWERS
from lq.wire.encode_checkup import ANSWERS as CHECKUP_ANSWERS
from lq.wire.encode_daemon import ANSWERS as DAEMON_ANSWERS
from lq.wire.encode_finding import ANSWERS as FINDING_ANSWERS
from lq.wire.encode_overview import ANSWERS as OVERVIEW_ANSWERS
from lq.wire.encode_schedule import ANSWERS as SCHEDULE_ANSWERS
from lq.wire.encode_settings import ANSWERS as SETTING_ANSWERS
from lq.wire.encode_why import ANSWERS as WHY_ANSWERS
from lq.wire.endpoints import ANSWERS as ENDPOINT_ANSWERS
from lq.wire.endpoints import CHECK, ENDPOINTS_QUERY
from lq.wire.events import ANSWERS as EVENT_ANSWERS
from lq.wire.events import EVENTS_QUERY, LAST_EVENT_ID
from lq.wire.filters import (
    CANCEL_QUERY,
    FAILURES_QUERY,
    FINGERPRINT,
    HISTORY_QUERY,
    MAX_TARGET,
    MAX_TEXT,
    PURGE_QUERY,
    REPLAY_QUERY,
    UNFINISHED_QUERY,
    WAITING,
)
from lq.wire.idempotency import BARE, IDEMPOTENCY_KEY, MAX_IDEMPOTENCY_KEY, QUOTED
from lq.wire.listening import ANSWERS as LISTENING_ANSWERS
from lq.wire.reading import Known, Refusing

Schema = Mapping[str, Any]


class Form(NamedTuple):
    """What one field accepts: a sentence, a schema, and a value that is accepted."""

    about: str
    schema: Schema
    example: object


class Field(NamedTuple):
    """A field by its name on the wire."""

    name: str
    form: Form
    required: bool = False


def _text(**more: object) -> dict[str, object]:
    return {"type": "string", "minLength": 1, **more}


def _words(*words: str) -> dict[str, object]:
    return {"type": "string", "enum": [str(word) for word in words]}


def _listed(*words: str) -> dict[str, object]:
    one = f"(?:{'|'.join(words)})"
    return _text(pattern=f"^{one}(?:,{one})*$")


def _or_empty(form: Form) -> Form:
    about = f"{form.about}; empty takes it away"
    return Form(about, {"anyOf": [form.schema, {"const": ""}]}, form.example)


def _or_null(form: Form) -> Form:
    about = f"{form.about}; null takes the setting away"
    return Form(about, {"anyOf": [form.schema, {"type": "null"}]}, form.example)


_AMOUNTS: Final = r"(?:[0-9]{1,20}(?:\.[0-9]{1,20})? *[A-Za-z]+ *)+"
_DATE_TIME: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:[Zz]|[-+ ][0-9]{2}:[0-9]{2})"
)
_NUMBER: Final = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
_DURATION: Final = _text(pattern=f"^ *{_AMOUNTS}$")
_DELAY: Final = _text(pattern=f"^ *(?:{_NUMBER}|{_AMOUNTS}) *$")
_INSTANT: Final = _text(pattern=f"^{_DATE_TIME}$")
_EITHER: Final = _text(pattern=f"^(?: *{_AMOUNTS}|{_DATE_TIME})$")
_RETRY: Final = _text(pattern=f"^ *(?:[0-9]{{1,9}}|{_AMOUNTS}(?:, *{_AMOUNTS})*) *$")
_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": MAX_TIMES}
_STRINGS: Final = {
    "type": "object",
    "maxProperties": fields.MAX_ITEM_HEADERS,
    "propertyNames": {"pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
    "additionalProperties": {"type": "string"},
}

_TARGET: Final = Form(
    "the URL to call; may be left out where the queue has a target",
    _text(format="uri"),
    "https://example.com/hook",
)
_METHOD: Final = Form("the method of the call (default: POST)", _words(*fields.METHODS), "PUT")
_CALL_HEADERS: Final = Form(
    "headers of the call, and of the HEAD that validates the endpoint; those that frame a message,"
    " x-lq-* and webhook-* are lq's own",
    _STRINGS,
    {"x-team": "mail"},
)
_RETRIES: Final = Form(
    "how often to try again, on the default curve, or exactly when; at most 100 times",
    _RETRY,
    "10s,1m,1h",
)
_TIMEOUT: Final = Form("how long one attempt may take, 1ms to 24h", _DURATION, "30s")
_KEY: Final = _text(maxLength=fields.MAX_KEY_BYTES)
_QUEUE: Final = Form(
    f"its name: 1 to {fields.MAX_QUEUE_BYTES} bytes of UTF-8 without control characters;"
    ' no segment is "items", "." or ".."',
    _text(maxLength=fields.MAX_QUEUE_BYTES),
    "mail",
)
_LABEL: Final = Form(
    "one of the words it was labelled with", _text(maxLength=fields.MAX_LABEL_BYTES), "welcome"
)
_FUTURE: Final = "an instant, or a duration from now"
_SOON: Final = "2h"

_ITEM: Final[Mapping[str, Form]] = {
    "x-lq-target": _TARGET,
    "x-lq-key": Form("unique among the queue's unprocessed items, in UTF-8", _KEY, "user-7"),
    "x-lq-delay": Form(
        "milliseconds, or a duration, up to ten years; negative means now", _DELAY, "1500"
    ),
    "x-lq-on": Form(
        "when: an instant; the past means now, and it wins over x-lq-delay",
        _INSTANT,
        "2026-12-01T09:00:00+01:00",
    ),
    "x-lq-headers": _CALL_HEADERS,
    "x-lq-method": _METHOD,
    "x-lq-retry": _RETRIES,
    "x-lq-timeout": _TIMEOUT,
    "x-lq-if-exists": Form(
        "what to do when the key is waiting (default: replace)", _words(*IfExists), "keep"
    ),
    "x-lq-expires": Form(
        "an instant, or a duration: an item that has not started by then fails", _EITHER, "2d"
    ),
    "x-lq-label": Form(
        f"up to {fields.MAX_LABELS} words of up to {fields.MAX_LABEL_BYTES} bytes, separated by"
        " commas, to search by",
        _text(),
        "import,eu",
    ),
    "x-lq-validate": Form(
        "whether the endpoint must prove itself first; none needs the scope admin (default: head)",
        _words("head", "none"),
        "head",
    ),
    "x-lq-completion": Form(
        "what completes the item: the response of its call, or what the handler says at the URL in"
        " x-lq-callback later (default: response)",
        _words(*Completion),
        "response",
    ),
}
_ENTRY: Final[Mapping[str, Form]] = {
    "payload": Form(
        "the payload: JSON, kept as it is written; where contentType is not JSON, text",
        {},
        {"n": 1},
    ),
    "payloadBase64": Form("the payload as bytes, in its place", {"type": "string"}, "aGk="),
    "contentType": Form(
        "the type of the payload (default: application/json with a payload)", _text(), "text/plain"
    ),
    "target": _TARGET,
    "key": _ITEM["x-lq-key"],
    "delay": Form(_ITEM["x-lq-delay"].about, {"anyOf": [_DELAY, {"type": "number"}]}, "5m"),
    "on": Form(
        "when: an instant; the past means now, and it wins over delay",
        _INSTANT,
        "2026-12-01T09:00:00+01:00",
    ),
    "headers": _CALL_HEADERS,
    "method": _METHOD,
    "retry": Form(
        _RETRIES.about,
        {"anyOf": [_RETRY, {"type": "integer", "minimum": 0, "maximum": 100}]},
        8,
    ),
    "timeout": _TIMEOUT,
    "ifExists": _ITEM["x-lq-if-exists"],
    "expires": _ITEM["x-lq-expires"],
    "labels": Form(
        f"up to {fields.MAX_LABELS} words of up to {fields.MAX_LABEL_BYTES} bytes, to search by",
        {"type": "array", "items": _text()},
        ["import", "eu"],
    ),
    "label": _ITEM["x-lq-label"],
    "validate": _ITEM["x-lq-validate"],
    "completion": _ITEM["x-lq-completion"],
    "traceparent": Form("W3C trace context; a malformed one is ignored", {"type": "string"}, None),
    "tracestate": Form("W3C trace context, with a traceparent", {"type": "string"}, None),
}
_CALLBACK: Final[Mapping[str, Form]] = {
    "x-lq-retry": Form(
        "whether another attempt may follow (default: yes)", _words("yes", "no"), "no"
    ),
}
_SCHEDULE: Final[Mapping[str, Form]] = {
    **_ITEM,
    "x-lq-schedule": Form(
        "the rule: a cron expression (of six fields the first is seconds), a nickname, or an"
        " interval; C= may stand before it",
        _text(),
        "30 2 * * 1-5",
    ),
    "x-lq-queue": Form("the queue of its items", _QUEUE.schema, "ops"),
    "x-lq-key": Form("unique over all schedules, in UTF-8", _KEY, "nightly"),
    "x-lq-tz": Form("the IANA time zone of a cron rule (default: UTC)", _text(), "Europe/Berlin"),
    "x-lq-expires": Form("a duration, counted for each item from when it is due", _DURATION, "12h"),
    "x-lq-times": Form(
        "how many times it fires",
        {"type": "integer", "minimum": 1, "maximum": MAX_FIRINGS},
        1000,
    ),
    "x-lq-start": Form("not before this instant", _INSTANT, "2027-01-01T00:00:00Z"),
    "x-lq-until": Form("not after this instant", _INSTANT, "2037-01-01T00:00:00Z"),
    "x-lq-misfire": Form(
        "what becomes of times that were missed: one item for all, none, or one each"
        " (default: once)",
        _words(*Misfire),
        "skip",
    ),
    "x-lq-overlap": Form(
        "whether it fires while its last item is unfinished (default: allow)",
        _words(*Overlap),
        "skip",
    ),
    "x-lq-jitter": Form("each item starts at some moment of it, up to 24h", _DURATION, "5m"),
}
_REASON: Final = Form(
    "why, for whoever wonders", _text(maxLength=fields.MAX_REASON), "the shop is being moved"
)
_PARAMETERS: Final[Mapping[str, Form]] = {
    "queue": _QUEUE,
    "key": Form("its key", _KEY, "user-7"),
    "label": _LABEL,
    "schedule": Form("the id of the schedule that made it", _text(maxLength=64), "sch_06cl"),
    "limit": Form(
        "how many at most (default: 100)",
        {"type": "integer", "minimum": 1, "maximum": fields.MAX_PAGE},
        10,
    ),
    "cursor": Form("what the last page gave as cursor", _text(maxLength=fields.MAX_CURSOR), None),
    "state": Form("its state", _words(*fields.STATES), "RETRY"),
    "target": Form(
        'what it calls: a whole target, or its beginning and a "*"',
        _text(maxLength=MAX_TARGET),
        "https://example.com/*",
    ),
    "error": Form(
        "a part of its error's text; ASCII letters in any case",
        _text(maxLength=MAX_TEXT),
        "refused",
    ),
    "fingerprint": Form(
        "how it has failed, as GET /failures tells",
        _text(pattern=f"^(?i:{FINGERPRINT})$"),
        "00c5a1d9e8f7b6a4",
    ),
    "from": Form("from this instant on", _INSTANT, "2026-12-01T00:00:00Z"),
    "to": Form("up to this instant", _INSTANT, "2036-12-01T00:00:00Z"),
    "count": Form("how many (default: 5)", _COUNT, 3),
    "month": Form(
        "which month, in the schedule's own zone (default: the present one)",
        _text(pattern="^[0-9]{4}-[0-9]{2}$"),
        "2027-03",
    ),
    "expr": Form("the rule, as in x-lq-schedule", _text(), "30 2 * * 1-5"),
    "tz": Form("an IANA time zone (default: UTC)", _text(), "Europe/Berlin"),
    "until": Form(f"when it ends: {_FUTURE}", _EITHER, _SOON),
    "reason": _REASON,
    "atomic": Form(
        "store all entries or none (default: 0)", _words("1", "0", "true", "false"), "1"
    ),
    "deep": Form(
        "compare each index with its table, too, which takes long (default: 0)",
        _words("1", "0", "true", "false"),
        "1",
    ),
    "dry": Form("only tell what would change (default: 0)", _words("1", "0", "true", "false"), "1"),
    "overlap": Form(
        "how long the present secret stays valid beside the new one, up to 90d (default: 24h);"
        " with 0s all older ones end",
        _DURATION,
        "1h",
    ),
    "payload": Form(
        "its payload to the byte, in base64 (default: as what it is)", _words("base64"), "base64"
    ),
    "attempt": Form(
        "the number of an attempt (default: the last one)",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999},
        1,
    ),
    "offset": Form(
        "where to go on: the offset that the last part gave (default: from the beginning)",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999_999},
        0,
    ),
    "wait": Form("how long to wait for more, up to 30s (default: not at all)", _DURATION, "20s"),
    "force": Form(
        "cancel the items that wait (default: 0)", _words("1", "0", "true", "false"), "1"
    ),
    "skip-missed": Form(
        "schedules leave out the times that they have missed (default: 0)",
        _words("1", "0", "true", "false"),
        "1",
    ),
}
_FLAG: Final = _words("1", "0", "true", "false")
_SWEPT: Final[Mapping[str, Form]] = {
    **_PARAMETERS,
    "cursor": Form("go on from the last answer", _text(maxLength=fields.MAX_CURSOR), None),
    "state": Form("its state", _words(*WAITING, "RUNNING"), "RETRY"),
    "dry": Form("only count (default: 0)", _FLAG, "1"),
    "all": Form("all are meant; needed where no filter says which", _FLAG, "1"),
    "rate": Form(
        "how many are due in a stretch of time (default: all are due now)",
        _text(pattern=r"^\s*[0-9]{1,9}\s*/\s*\S+\s*$"),
        "5/s",
    ),
}
_FINISHED: Final[Mapping[str, Form]] = {
    **_PARAMETERS,
    "state": Form("its state", _words(*fields.FINISHED_STATES), "FAILED"),
}
_EVENTS: Final[Mapping[str, Form]] = {
    **_PARAMETERS,
    "state": Form(
        "the states that they lead to, separated by commas",
        _listed(*fields.STATES),
        "RETRY,FAILED",
    ),
    "verb": Form("what happened, separated by commas", _listed(*VERBS), "fail,bury"),
}
_SETTINGS: Final[Mapping[str, Form]] = {
    "target": _or_null(_TARGET),
    "method": _or_null(_METHOD),
    "headers": _or_null(_CALL_HEADERS),
    "concurrency": _or_null(
        Form(
            "calls in flight",
            {"type": "integer", "minimum": 1, "maximum": fields.MAX_CONCURRENCY},
            4,
        )
    ),
    "rate": _or_null(
        Form(
            "how many may start in a stretch of time; the others wait",
            _text(pattern=r"^\s*[0-9]{1,9}\s*/\s*\S+\s*$"),
            "100/min",
        )
    ),
    "burst": _or_null(
        Form(
            "how many may start at once after a quiet time, in spite of the rate",
            {"type": "integer", "minimum": 1, "maximum": MAX_COUNT},
            20,
        )
    ),
    "fifo": _or_null(
        Form("one at a time, and one that fails holds up the others", {"type": "boolean"}, True)
    ),
    "retry": _or_null(
        Form(
            _RETRIES.about,
            {"anyOf": [_RETRY, {"type": "integer", "minimum": 0, "maximum": 100}]},
            8,
        )
    ),
    "timeout": _or_null(_TIMEOUT),
    "paused": Form("whether nothing more starts", {"type": "boolean"}, True),
    "pausedUntil": _or_null(Form(f"when the pause ends: {_FUTURE}", _EITHER, _SOON)),
    "pauseReason": _or_null(_REASON),
}
_TOKEN: Final[Mapping[str, Form]] = {
    "name": Form(
        "its name, unique among live tokens",
        _text(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        "shop",
    ),
    "scopes": Form(
        "what it may do",
        {"type": "array", "minItems": 1, "items": _words(*Scope)},
        ["push"],
    ),
    "queues": Form(
        "shell patterns of the queues that it reaches (default: all)",
        {
            "type": "array",
            "maxItems": fields.MAX_PATTERNS,
            "items": _text(maxLength=fields.MAX_QUEUE_BYTES),
        },
        ["shop-*"],
    ),
    "expires": Form(
        f"when it ends: {_FUTURE}; null: never", {"anyOf": [_EITHER, {"type": "null"}]}, "90d"
    ),
}
_ENDPOINT: Final[Mapping[str, Form]] = {
    "url": Form("the URL to ask", _text(format="uri"), "https://example.com/hook"),
    "queue": Form(
        "with the headers that it has in this queue alone (default: in all)", _QUEUE.schema, "mail"
    ),
}
_REPEATED: Final = Field(
    IDEMPOTENCY_KEY,
    Form(
        f"1 to {MAX_IDEMPOTENCY_KEY} characters of ASCII, in quotes or bare: repetitions of the"
        " request within 24 hours get the same answer, and do nothing",
        _text(pattern=f'^[ \t]*(?:{BARE}+|"{QUOTED}+")[ \t]*$'),
        '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    ),
)
_TRACE: Final = (
    Field("traceparent", Form("W3C trace context; a malformed one is ignored", {}, None)),
    Field("tracestate", Form("W3C trace context, kept with a traceparent", {}, None)),
)


def _described(known: Known[Any], forms: Mapping[str, Form], *required: str) -> tuple[Field, ...]:
    """The fields of a decoder's table, but for those that it refuses."""
    names = [name for name, (_, read) in known.items() if not isinstance(read, Refusing)]
    return tuple(Field(name, forms[name], name in required) for name in names)


# An empty header takes away what need not be there; the others have to be something.
_EMPTIED: Final = {"x-lq-expires", "x-lq-label"}
_LASTING: Final = {
    *("x-lq-schedule", "x-lq-queue", "x-lq-tz", "x-lq-misfire", "x-lq-overlap"),
    *("x-lq-validate", "x-lq-completion"),
}

FAIL: Final = (
    *_described(FAIL_HEADERS, _CALLBACK),
    Field("Retry-After", Form("no attempt before: seconds, or an HTTP date", {}, None)),
)
PUSH: Final = (*_described(PUSH_HEADERS, _ITEM), _REPEATED, *_TRACE)
EDIT: Final = _described(
    EDIT_HEADERS, {n: _or_empty(f) if n in _EMPTIED else f for n, f in _ITEM.items()}
)
SCHEDULE: Final = (
    *_described(SCHEDULE_HEADERS, _SCHEDULE, "x-lq-schedule", "x-lq-queue"),
    _REPEATED,
)
SCHEDULE_EDIT: Final = _described(
    SCHEDULE_EDIT_HEADERS,
    {n: f if n in _LASTING else _or_empty(f) for n, f in _SCHEDULE.items()},
)
UNFINISHED: Final = _described(UNFINISHED_QUERY, _PARAMETERS)
OF_QUEUE: Final = tuple(field for field in UNFINISHED if field.name != "queue")
HISTORY: Final = _described(HISTORY_QUERY, _FINISHED)
FAILURES: Final = _described(FAILURES_QUERY, _PARAMETERS)
REPLAY: Final = _described(REPLAY_QUERY, {**_SWEPT, "state": _FINISHED["state"]})
CANCEL: Final = _described(CANCEL_QUERY, _SWEPT)
PURGE: Final = _described(
    PURGE_QUERY, {**_SWEPT, "state": Form("its state", _words(*WAITING), "RETRY")}
)
SCHEDULES: Final = _described(SCHEDULES_QUERY, _PARAMETERS)
TIMES: Final = _described(TIMES_QUERY, _PARAMETERS)
CALENDAR: Final = _described(CALENDAR_QUERY, _PARAMETERS)
CRON: Final = _described(CRON_QUERY, _PARAMETERS, "expr")
PAUSE: Final = _described(pause_query(0), _PARAMETERS)
DEEP: Final = _described(DEEP_QUERY, _PARAMETERS)
EVENTS: Final = _described(EVENTS_QUERY, _EVENTS)
RESUME: Final = (
    Field(
        LAST_EVENT_ID,
        Form("the id of the last event that was seen: what came after it comes first", {}, None),
    ),
)
OVERVIEW: Final = _described(
    OVERVIEW_QUERY,
    {
        "limit": Form(
            "how many runs and schedules at most (default: 10)", _PARAMETERS["limit"].schema, 5
        )
    },
)
ACTIVITY: Final = _described(
    ACTIVITY_QUERY,
    {
        "span": Form("how far back (default: hour)", _words(*Span), "day"),
        "queue": Form("one queue (default: all together)", _QUEUE.schema, "mail"),
    },
)
ATOMIC: Final = _described(ATOMIC_QUERY, _PARAMETERS)
BATCH: Final = (*_described(BATCH_HEADERS, _ITEM), _REPEATED, *_TRACE)
ENTRY: Final = _described(ENTRY_MEMBERS, _ENTRY)
DRY: Final = _described(DRY_QUERY, _PARAMETERS)
ITEM: Final = _described(ITEM_QUERY, _PARAMETERS)
LOGS: Final = _described(LOG_QUERY, _PARAMETERS)
ROTATION: Final = _described(ROTATION_QUERY, _PARAMETERS)
FORCE: Final = _described(FORCE_QUERY, _PARAMETERS)
BACKUP: Final = _described(BACKUP_QUERY, _PARAMETERS)
BACKUP_PART: Final = _described(PART_QUERY, _PARAMETERS)
RELEASE: Final = _described(RELEASE_QUERY, _PARAMETERS)
SETTINGS: Final = _described(queue_members(0), _SETTINGS)
TOKEN: Final = _described(token_members(0), _TOKEN, "name", "scopes")
ENDPOINTS: Final = _described(ENDPOINTS_QUERY, _PARAMETERS)
ENDPOINT: Final = _described(CHECK, _ENDPOINT, "url")

_SEGMENT: Final = "; a slash in it may be sent as it is, or as %2F"
PATH: Final[Mapping[str, Form]] = {
    "queue": Form(_QUEUE.about + _SEGMENT, _QUEUE.schema, "mail"),
    "key": Form(
        "the item's key; it reaches to the end, and a query string that is not encoded is part of"
        f" it{_SEGMENT}",
        _KEY,
        "user-7",
    ),
    "id": Form("the item's id", _text(), "job_01a20034f82443630e6f6c114dee3188"),
    "schedule": Form("the schedule's id", _text(), "sch_01a20034f82443630e6f6c114dee3188"),
    "schedule_key": Form(
        "the schedule's key; it reaches to the end, and a query string that is not encoded is part"
        f" of it{_SEGMENT}",
        _KEY,
        "nightly",
    ),
    "token": Form("what the call had in x-lq-callback", _text(), None),
    "name": Form("the name of a token or an alert, or the id of a listener", _text(), "shop"),
}
"""What stands in paths, by the names that routes give it."""

ANSWERS: Final[Mapping[str, Any]] = {
    **ITEM_ANSWERS,
    **FINDING_ANSWERS,
    **WHY_ANSWERS,
    **CHECKUP_ANSWERS,
    **BATCH_ANSWERS,
    **SCHEDULE_ANSWERS,
    **DAEMON_ANSWERS,
    **EVENT_ANSWERS,
    **OVERVIEW_ANSWERS,
    **ACTIVITY_ANSWERS,
    **BACKUP_ANSWERS,
    **LISTENING_ANSWERS,
    **ENDPOINT_ANSWERS,
    **ATTENTION_ANSWERS,
    **SETTING_ANSWERS,
}
"""The records of all answers, by name."""
