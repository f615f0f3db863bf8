"""Batches -> pushes, one by one: a JSON array, or a stream of lines.

Owns: what an entry may say, and where one ends. An entry that is not understood is an entry
still, with the error in its place; what follows it is read all the same. Never waits for bytes:
whoever has some feeds them in.

Invariant: at most MAX_ENTRIES are read, and a line is held in memory only up to its limit.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Raw

from lq.backoff import parse_retry
from lq.batch import MAX_ENTRIES, Entry, place
from lq.errors import PayloadTooLarge, RequestError, ValidationError
from lq.model import Push
from lq.when import parse_delay, parse_rfc3339
from lq.wire import fields
from lq.wire.decode import PUSH_HEADERS, in_text, placed, read_trace
from lq.wire.parts import is_json_type
from lq.wire.reading import Known, RawHeaders, Refusing, read_headers, read_members

LINE_TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
"""Content types of which each line is an entry; any other body is a JSON array."""

_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(r"[ \t\n\r]*")
# Beside its payload, which base64 makes a third larger and escapes more.
_LINE_BYTES: Final = 1 << 16


def _delay(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('expected milliseconds, or a duration such as "5m"')
    return parse_delay(str(value))


def _retry(value: object) -> object:
    if isinstance(value, int):
        return fields.retry_of(value)
    return parse_retry(fields.text_of(value))


def _labels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError('expected a list of words such as ["import", "eu"]')
    return fields.read_labels(",".join(map(fields.text_of, value))) if value else ()


def _content_type(value: object) -> str:
    text = fields.text_of(value)
    if not text or not text.isascii() or not fields.is_sendable(text):
        raise ValueError('expected ASCII such as "application/json"')
    return text


def _base64(value: object) -> bytes:
    text = fields.text_of(value)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # also for what is not ASCII
        raise ValueError("expected base64 with its padding") from None


def _any(value: object) -> object:
    return value


ENTRY: Final[Known[Any]] = MappingProxyType(
    {
        "payload": ("payload", _any),
        "payloadBase64": ("payload_base64", _base64),
        "contentType": ("content_type", _content_type),
        "target": ("target", in_text(fields.read_target)),
        "key": ("key", in_text(fields.check_key)),
        "delay": ("delay_ms", _delay),
        "on": ("on_at", in_text(parse_rfc3339)),
        "headers": ("headers", fields.headers_of),
        "method": ("method", in_text(fields.read_method)),
        "retry": ("retry", _retry),
        "timeout": ("timeout_ms", fields.timeout_of),
        "ifExists": ("if_exists", in_text(fields.read_if_exists)),
        "expires": ("expires", in_text(fields.read_expires)),
        "labels": ("labels", _labels),
        "label": ("labels", in_text(fields.read_labels)),
        "validate": ("validate", in_text(fields.read_validate)),
        "completion": ("completion", in_text(fields.read_completion)),
        "traceparent": ("traceparent", fields.text_of),
        "tracestate": ("tracestate", fields.text_of),
    }
)
_OWN: Final = Refusing("belongs to a single item; give each entry its own")
BATCH_HEADERS: Final[Known[str]] = MappingProxyType({**PUSH_HEADERS, "x-lq-key": ("key", _OWN)})


class BatchReader:
    """Reads one batch: its headers at once, its entries as their bytes come."""

    def __init__(self, queue: str, headers: Sequence[tuple[bytes, bytes]], max_payload: int):
        """Shape: x-lq-* headers hold for entries that do not say otherwise.

        Units: `max_payload` is bytes. Raises: ValidationError.
        """
        self._queue = queue
        self._defaults, plain = read_headers(headers, BATCH_HEADERS)
        self._trace = read_trace(plain)
        self._max_payload = max_payload
        self._lines = _Lines(2 * max_payload + _LINE_BYTES)
        self._count = 0
        self.in_lines = _is_in_lines(headers)

    def whole(self, body: bytes) -> Iterator[Entry]:
        """The entries of a whole body.

        Raises: ValidationError, when it is no array; PayloadTooLarge, when it has too many.
        """
        if self.in_lines:
            yield from self.feed(body)
            yield from self.end()
            return
        for raw in _elements(body):
            yield self._entry(raw, None)

    def feed(self, data: bytes) -> Iterator[Entry]:
        """The entries of the lines that end in these bytes. Raises: PayloadTooLarge."""
        for line, raw in self._lines.feed(data):
            yield self._entry(raw, line)

    def end(self) -> Iterator[Entry]:
        """The entry of a last line without a newline. Raises: PayloadTooLarge."""
        yield from self.feed(b"\n")

    def _entry(self, raw: bytes | None, line: int | None) -> Entry:
        if self._count == MAX_ENTRIES:
            raise PayloadTooLarge(
                f"a batch has at most {MAX_ENTRIES} entries, and none from"
                f" {place(self._count, line)} on was stored",
                hint="push the others in further batches",
            )
        self._count += 1
        try:
            return Entry(self._push(raw), line)
        except RequestError as error:
            return Entry(error, line)

    def _push(self, raw: bytes | None) -> Push:
        if raw is None:
            raise self._too_large()
        value = _object_of(raw)
        own = read_members(value.items(), ENTRY)
        if "delay_ms" in own or "on_at" in own:
            defaults = {k: v for k, v in self._defaults.items() if k not in {"delay_ms", "on_at"}}
        else:
            defaults = self._defaults
        members = {**self._trace, **defaults, **own}
        if "traceparent" in own or "tracestate" in own:
            members |= _own_trace(own, members)
        payload, content_type = _payload_of(raw, members)
        if len(payload) > self._max_payload:
            raise self._too_large()
        return Push(
            queue=self._queue, payload=payload, content_type=content_type, **placed(members)
        )

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"a payload has at most {self._max_payload} bytes here",
            hint="keep what is large elsewhere and push where it is (max_payload sets the limit)",
        )


class _Lines:
    """Cuts bytes into lines. Shape: a line with its number, None where it is too long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        self._number = 1
        self._too_long = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in these bytes, but for blank ones."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = self._take(data[start:end])
            if line is None or not line.isspace():
                yield self._number, line
            self._number += 1
            start = end + 1
        self._hold(data[start:])

    def _take(self, last: bytes) -> bytes | None:
        self._hold(last)
        line = None if self._too_long else bytes(self._rest) + b"\n"
        self._rest.clear()
        self._too_long = False
        return line

    def _hold(self, data: bytes) -> None:
        if self._too_long or len(self._rest) + len(data) > self._most:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += data


def _is_in_lines(headers: RawHeaders) -> bool:
    """Whether the content type says that each line is an entry."""
    for name, value in headers:
        if name.lower() == b"content-type":
            kind = value.decode("latin-1").partition(";")[0].strip().lower()
            return kind in LINE_TYPES
    return False


def _elements(body: bytes) -> Iterator[bytes]:
    """The elements of a JSON array, as they are written. Raises: ValidationError.

    They are looked at one by one, so that no array makes more objects than an entry has.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ValidationError.of("body", "expected JSON in UTF-8") from None
    at = _space(text, 0)
    if text[at : at + 1] != "[":
        raise ValidationError.of(
            "body", f"expected a JSON array, or a line for each entry and the type {LINE_TYPES[0]}"
        )
    scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
    at, index = _space(text, at + 1), 0
    if text[at : at + 1] == "]":
        _refuse_more(text, at + 1)
        return
    while True:
        try:
            _, end = scan(text, at)
        except json.JSONDecodeError as error:
            raise _malformed(index, f"{error.msg} at character {error.pos + 1}") from None
        except RecursionError:
            most = fields.MAX_JSON_DEPTH
            raise _malformed(index, f"it is nested more than {most} levels deep") from None
        yield text[at:end].encode()
        at, index = _space(text, end), index + 1
        if text[at : at + 1] == "]":
            _refuse_more(text, at + 1)
            return
        if text[at : at + 1] != ",":
            raise _malformed(index, f"expected a comma or ] at character {at + 1}")
        at = _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _refuse_more(text: str, at: int) -> None:
    if _space(text, at) != len(text):
        raise ValidationError.of("body", f"expected its end at character {at + 1}")


def _malformed(index: int, why: str) -> ValidationError:
    return ValidationError.of(place(index, None), f"expected JSON: {why}", "malformed")


def _object_of(raw: bytes) -> dict[str, Any]:
    """The members of an entry. Raises: ValidationError."""
    if raw.startswith(_BOM):
        raise ValidationError.of("entry", "begins with a byte order mark, which is not JSON")
    try:
        value = fields.json_of(raw, _number)
    except ValueError as error:
        raise ValidationError.of("entry", str(error)) from None
    if not isinstance(value, dict):
        raise ValidationError.of("entry", f"expected an object with members of {', '.join(ENTRY)}")
    return value


def _number(digits: str) -> int | float:
    """A number of an entry: a long one can only be of its payload, which is kept as written."""
    return int(digits) if len(digits) <= 20 else float(digits)


def _own_trace(own: Mapping[str, Any], members: dict[str, Any]) -> dict[str, str]:
    """The trace context that an entry has itself, in the place of that of its batch."""
    for name in ("traceparent", "tracestate"):
        members.pop(name, None)
    plain = {n.encode(): str(own.get(n, "")).encode() for n in ("traceparent", "tracestate")}
    return read_trace(plain)


def _payload_of(raw: bytes, members: dict[str, Any]) -> tuple[bytes, str | None]:
    """The payload of an entry and its type. Raises: ValidationError.

    Shape: JSON is kept as it is written, unless the type says that a string is text.
    """
    content_type: str | None = members.pop("content_type", None)
    if "payload_base64" in members:
        if "payload" in members:
            raise ValidationError.of("payloadBase64", "is given together with a payload")
        return members.pop("payload_base64"), content_type
    if "payload" not in members:
        return b"", content_type
    value = members.pop("payload")
    if content_type is None or is_json_type(content_type):
        return bytes(_raw(raw)["payload"]), content_type or "application/json"
    if not isinstance(value, str):
        text = "expected a string, since contentType is not JSON; payloadBase64 takes bytes"
        raise ValidationError.of("payload", text)
    return value.encode(), content_type


def _raw(raw: bytes) -> dict[str, Raw]:
    try:
        return _members(raw)
    except msgspec.DecodeError as error:
        raise ValidationError.of("entry", f"expected JSON: {error}") from None


_members: Final[Callable[[bytes], dict[str, Raw]]] = msgspec.json.Decoder(dict[str, Raw]).decode
