"""Payloads and results: values of a declared type to bytes and back.

Owns: what a content type means, and the error that names the field which does not fit. Text and
bytes are sent as they are, everything else as JSON.
Invariant: what was written fits the type, and so does what was read. A member that the type does
not know is refused when writing, where it is a slip of the pen, and ignored when reading, where
the other side may be newer.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from lq.errors import LqError

T = TypeVar("T")

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


class PayloadError(LqError):
    """A payload that does not fit its type. Shape: `path` names the field, as in `payload.age`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class Encoded(NamedTuple):
    """A value as it is sent; of nothing at all there is no content type."""

    body: bytes
    content_type: str | None


NOTHING: Any = object()
"""Stands for a payload that was not given, where None is a value."""


class Codec(Generic[T]):
    """Reads and writes values of one type."""

    def __init__(self, kind: Any) -> None:
        """Raises: LqError when values of this type cannot be checked."""
        import msgspec.inspect

        self.kind = kind
        try:
            self._decoder = msgspec.json.Decoder(kind, dec_hook=_convert)
            self._info = msgspec.inspect.type_info(kind)
        except (TypeError, NameError) as error:
            name = getattr(kind, "__name__", kind)
            raise LqError(f"payloads of type {name} cannot be checked: {error}") from None
        members = getattr(self._info, "types", (self._info,))
        names = {type(member).__name__.removesuffix("Type") for member in members}
        self._anything = "Any" in names
        self._text = self._anything or names - {"None"} == {"Str"}
        self._bytes = self._anything or names - {"None"} == {"Bytes"}

    @cached_property
    def _shape(self) -> Any:
        from lq.sdk.shape import Shape

        return Shape(self._info)

    def encode(self, value: T) -> Encoded:
        """Raises: PayloadError."""
        if value is NOTHING:
            self.decode(b"", None)
            return Encoded(b"", None)
        encoded = self._written(value)
        if encoded.content_type == JSON and not self._anything:
            self.decode(encoded.body, JSON)
            if unknown := self._shape.unknown(msgspec.json.decode(encoded.body)):
                raise PayloadError(f"payload{unknown}", "is not known to the type")
        elif not self._anything:
            self._converted(encoded.body if self._bytes else value)
        return encoded

    def _written(self, value: object) -> Encoded:
        if self._text and isinstance(value, str):
            try:
                return Encoded(value.encode(), TEXT)
            except UnicodeEncodeError:
                raise PayloadError("payload", "has half of a surrogate pair") from None
        if self._bytes and isinstance(value, bytes | bytearray | memoryview):
            return Encoded(bytes(value), BYTES)
        if self._bytes and not self._anything and value is not None:
            raise PayloadError("payload", f"expected bytes, got {type(value).__name__}")
        try:
            return Encoded(msgspec.json.encode(value, enc_hook=_plain), JSON)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise PayloadError("payload", f"cannot be written as JSON: {error}") from None

    def decode(self, body: bytes, content_type: str | None) -> Any:
        """Raises: PayloadError. Shape: the result is a T."""
        kind, charset = _media_type(content_type)
        if kind == JSON or kind.endswith("+json") or not (self._text or self._bytes):
            return self._from_json(body)
        if self._anything and not body and content_type is None:
            return None
        if self._text and (kind.startswith("text/") or not self._bytes):
            try:
                return self._converted(body.decode(charset))
            except (ValueError, LookupError):
                raise PayloadError("payload", f"is not text in {charset}") from None
        return self._converted(body)

    def _from_json(self, body: bytes) -> Any:
        if self._bytes and not self._anything and body != b"null":
            return self._converted(body)  # whoever takes bytes takes them as they are
        try:
            return self._decoder.decode(body or b"null")
        except msgspec.ValidationError as error:
            if not body:
                raise PayloadError("payload", "is missing") from None
            raise _named(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PayloadError("payload", f"is not JSON ({error})") from None

    def _converted(self, value: object) -> Any:
        try:
            return msgspec.convert(value, self.kind, dec_hook=_convert)
        except msgspec.ValidationError as error:
            raise _named(error) from None


class _Unfit(ValueError):
    """What is wrong with a value of a foreign type, and where inside of it."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(problem)
        self.place = place
        self.problem = problem


def _convert(kind: Any, value: object) -> object:
    """A value of a type that msgspec does not know: a pydantic model's.

    Strictly, as all others: "36" is no int, unless the model says so of a field.
    """
    if isinstance(value, kind):
        return value
    if not hasattr(kind, "model_validate_json"):
        raise _Unfit("", f"values of {kind.__name__} cannot be checked")
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(msgspec.json.encode(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        problem = "is missing" if first["type"] == "missing" else first["msg"]
        raise _Unfit("".join(steps), problem[:1].lower() + problem[1:]) from None


def _plain(value: Any) -> object:
    """A pydantic model as what JSON knows."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"values of {type(value).__name__} have no form in it")


_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$?(?P<place>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")


def _named(error: msgspec.ValidationError) -> PayloadError:
    """An error of msgspec with the path of the field first."""
    found = _PLACE.fullmatch(str(error))
    assert found is not None  # the pattern takes any text
    path, what = f"payload{found['place'] or ''}", found["what"]
    if isinstance(error.__cause__, _Unfit):
        return PayloadError(path + error.__cause__.place, error.__cause__.problem)
    if missing := _MISSING.fullmatch(what):
        return PayloadError(f"{path}.{missing['name']}", "is missing")
    what = what.replace("`", "")
    return PayloadError(path, f"{what[:1].lower()}{what[1:]}")


def _media_type(text: str | None) -> tuple[str, str]:
    """The type and the charset of a Content-Type."""
    kind, *parameters = (text or "").split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"') or charset
    return kind.strip().lower(), charset
