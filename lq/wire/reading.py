"""Requests taken apart: headers, JSON objects and query strings against what may be said.

Owns: who is told what when a name is unknown, repeated, or has a value that is not understood;
all issues of a request are found before it is refused. What a single value accepts is `fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lq.errors import Issue, ValidationError
from lq.when import UnknownZone
from lq.wire import fields

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Names and values as they came over the socket."""

V = TypeVar("V")
Reader = Callable[[V], object]
Known = Mapping[str, tuple[str, Reader[V]]]
"""What may be said: its name on the wire -> the member it becomes, and what reads it."""


def read_headers(
    headers: RawHeaders, known: Known[str]
) -> tuple[dict[str, Any], dict[bytes, bytes]]:
    """Read the x-lq-* headers; the others are handed back as they came, names in lower case.

    Raises: ValidationError naming each header that is unknown, repeated or not understood.
    """
    members: dict[str, Any] = {}
    plain: dict[bytes, bytes] = {}
    issues: list[Issue] = []
    for raw_name, value in headers:
        lowered = raw_name.lower()
        if lowered.startswith(b"x-lq-"):
            _read(members, issues, header_text(lowered), header_text(value), known)
        else:
            plain.setdefault(lowered, value)
    if issues:
        raise ValidationError(issues)
    return members, plain


def read_document(body: bytes, known: Known[Any]) -> dict[str, Any]:
    """Read a JSON object. Raises: ValidationError."""
    try:
        value = fields.read_json(body)
    except ValueError as error:
        raise ValidationError.of("body", str(error)) from None
    if not isinstance(value, dict):
        names = ", ".join(sorted(known))
        raise ValidationError.of("body", f"expected a JSON object with members of {names}")
    return read_members(value.items(), known)


def read_query(query: str, known: Known[str]) -> dict[str, Any]:
    """Read a query string. Raises: ValidationError."""
    from urllib.parse import parse_qsl

    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise ValidationError.of("query", "expected name=value pairs in UTF-8") from None
    return read_members(pairs, known)


class Refusing:
    """Reads what has no place here, but may be tried: a refusal that says what to do instead."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __call__(self, value: object) -> object:
        raise ValueError(self._sentence)


def require(members: Mapping[str, Any], **names: str) -> None:
    """Refuse a request without these members, given as member="what the caller calls it"."""
    missing = [name for member, name in names.items() if member not in members]
    if missing:
        raise ValidationError([Issue(name, "is missing", "required") for name in missing])


def header_text(value: bytes) -> str:
    """The text of a header."""
    # fetch sends Latin-1 where curl sends UTF-8; Latin-1 is hardly ever valid UTF-8 by chance.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def content_type_of(plain: Mapping[bytes, bytes]) -> str | None:
    """The Content-Type of a body, as it was written. Raises: ValidationError."""
    value = plain.get(b"content-type")
    if value is None:
        return None
    # It goes out again byte for byte, which only ASCII survives on every path.
    if not value.isascii() or not fields.is_sendable(text := value.decode("ascii")):
        raise ValidationError.of("content-type", 'expected ASCII such as "application/json"')
    return text


def read_members(pairs: Iterable[tuple[str, Any]], known: Known[Any]) -> dict[str, Any]:
    """Read names and values. Raises: ValidationError."""
    members: dict[str, Any] = {}
    issues: list[Issue] = []
    for name, value in pairs:
        _read(members, issues, name, value, known)
    if issues:
        raise ValidationError(issues)
    return members


def _read(
    members: dict[str, Any], issues: list[Issue], name: str, value: V, known: Known[V]
) -> None:
    field = known.get(name)
    if field is None:
        text = f"is not known here{fields.suggestion(name, known)}"
        issues.append(Issue(name, text, "unknown"))
        return
    member, read = field
    if member in members:
        issues.append(Issue(name, "is there more than once", "repeated"))
        return
    try:
        members[member] = read(value)
    except UnknownZone as error:
        issues.append(Issue(name, str(error), "unknown_timezone"))
    except ValueError as error:
        issues.append(Issue(name, str(error)))
