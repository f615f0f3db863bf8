"""What requests of listeners may say, as `describe` has it for all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lq.wire import fields
from lq.wire.describe import PUSH, Field, Form
from lq.wire.listening import ANSWER_HEADERS, COPY_QUERY, LISTENER, NEXT_QUERY, SAMPLE_HEADERS

_PATTERNS: Final = {
    "type": "array",
    "maxItems": fields.MAX_PATTERNS,
    "items": {"type": "string", "minLength": 1, "maxLength": fields.MAX_QUEUE_BYTES},
}
_TRUTH: Final = {"type": "boolean"}
_TEXT: Final = {"type": "string", "minLength": 1}
_DIGITS: Final = {"type": "string", "pattern": "^[0-9]{1,15}$"}

_LISTENER: Final[Mapping[str, Form]] = {
    "name": Form(
        "how it is called; a number is added while another has the name",
        {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        "ada-laptop",
    ),
    "takeOver": Form("whether it answers the calls in place of their targets", _TRUTH, True),
    "queues": Form("shell patterns of queues (default: all)", _PATTERNS, ["mail-*"]),
    "targets": Form("shell patterns of targets (default: all)", _PATTERNS, ["https://x.test/*"]),
    "onlySent": Form("get nothing but what is sent to it by name", _TRUTH, True),
}
_NEXT: Final[Mapping[str, Form]] = {
    "after": Form("the number of the last call that arrived: up to it they are done", _DIGITS, "7"),
    "hold": Form("wait, and get no call: there is enough to do", _TEXT, "1"),
    "wait": Form("how long to wait for a call, up to 10s", _TEXT, "10s"),
}
_COPY: Final[Mapping[str, Form]] = {
    "listener": Form("the id of the listener that alone is to get it", _TEXT, "lis_0123456789"),
}
_ANSWER: Final[Mapping[str, Form]] = {
    "x-lq-call": Form("the number of the call that is answered", _DIGITS, "7"),
    "x-lq-status": Form(
        "the status that the application answered with",
        {"type": "string", "pattern": "^[0-9]+$"},
        "200",
    ),
    "x-lq-headers": Form(
        "headers of the answer",
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"Content-Type": "text/plain"},
    ),
    "x-lq-truncated": Form("whether the body is only the beginning", _TEXT, "1"),
    "x-lq-error": Form("why there is no answer", _TEXT, "connect_error: Connection refused"),
}

WANTED: Final = tuple(Field(name, _LISTENER[name], name == "name") for name in LISTENER)
NEXT: Final = tuple(Field(name, _NEXT[name]) for name in NEXT_QUERY)
COPY: Final = tuple(Field(name, _COPY[name]) for name in COPY_QUERY)
ANSWER: Final = tuple(Field(name, _ANSWER[name], name == "x-lq-call") for name in ANSWER_HEADERS)
SAMPLE: Final = tuple(field for field in PUSH if field.name in SAMPLE_HEADERS)
