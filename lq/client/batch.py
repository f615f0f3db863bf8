"""The entries of a batch as lines of JSON, and many of them as batches.

Owns: how the arguments of a push become an entry, and how large a batch is. Never judges a value
that the daemon will judge.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from json import dumps, loads
from typing import Any

from lq.client.options import LEFT_OUT, option_headers, payload_of
from lq.errors import Issue, ValidationError

Entry = Mapping[str, Any]
"""What a push takes as arguments: `payload` as bytes or `json`, and options."""

LINES = "application/x-ndjson"
MOST_LINES = 1000
MOST_BYTES = 4 << 20


def lines_of(entries: bytes | Iterable[Entry]) -> bytes:
    """The body of a batch; bytes are lines already. Raises: ValidationError, TypeError."""
    if isinstance(entries, bytes):
        return entries
    return b"".join(_lines(entries))


def in_batches(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The bodies of as many batches as these entries need. Raises: ValidationError, TypeError."""
    batch: list[bytes] = []
    size = 0
    for line in _lines(entries):
        if batch and (len(batch) == MOST_LINES or size + len(line) > MOST_BYTES):
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"".join(batch)


def results_from(start: int, answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a batch whose first entry is one of many. Shape: `index` counts them all."""
    for result in answer["results"]:
        result.pop("line", None)
        yield {**result, "index": start + result["index"]}


def options_from(start: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of such a batch: a key that was given for all makes one for each."""
    key = options.get("idempotency_key", LEFT_OUT)
    if key is None or key is LEFT_OUT:
        return dict(options)
    return {**options, "idempotency_key": f"{key}-{start}"}


def _lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    for index, entry in enumerate(entries):
        try:
            yield _line(entry)
        except ValidationError as error:
            where = f"entry {index}"
            issues = [Issue(f"{where}: {i.path}", i.message, i.code) for i in error.issues]
            raise ValidationError(issues, hint=error.hint) from None


def _line(entry: Entry) -> bytes:
    options: Any = dict(entry)
    payload, json = options.pop("payload", b""), options.pop("json", LEFT_OUT)
    headers = option_headers(options)
    if not options.get("labels"):
        headers.pop("x-lq-label", None)
    members: dict[str, Any] = {_member(name): text for name, text in headers.items()}
    if "headers" in members:
        members["headers"] = loads(members["headers"])
    if json is not LEFT_OUT:
        payload_of(payload, json, {})
        members["payload"] = json
    elif payload:
        members["payloadBase64"] = _base64(payload_of(payload, json, {}))
    text = dumps(members, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _base64(payload: bytes) -> str:
    return b2a_base64(payload, newline=False).decode()  # the module base64 takes longer to load


def _member(header: str) -> str:
    """What an entry calls a header: `ifExists` for x-lq-if-exists."""
    first, *others = header.lower().removeprefix("x-lq-").split("-")
    return first + "".join(word.capitalize() for word in others)
