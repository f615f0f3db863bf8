"""Payloads are held against their types, both ways, and what does not fit is named."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from lq.errors import LqError
from lq.sdk.codec import BYTES, JSON, NOTHING, TEXT, Codec, PayloadError


class Welcome(TypedDict):
    name: str
    age: int


class Letter(TypedDict):
    to: list[Welcome]
    notes: NotRequired[dict[str, Welcome]]


@dataclass
class Order:
    id: uuid.UUID
    price: decimal.Decimal
    at: datetime.datetime
    state: Literal["new", "paid"] = "new"
    tags: list[str] = field(default_factory=list)


class Point(msgspec.Struct, omit_defaults=True, rename="camel"):
    x_axis: int
    y_axis: int = 0


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Node(TypedDict):
    value: int
    next: NotRequired[Node]


class Colour(enum.Enum):
    RED = "red"


class User(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(alias="theAge")


class Team(TypedDict):
    lead: User
    members: list[User]


UUID = uuid.UUID("bf3bcbe3-749b-4791-907d-e2493b774062")
AT = datetime.datetime(2026, 12, 1, 9, tzinfo=datetime.UTC)
ADA_: Welcome = {"name": "Ada", "age": 36}
ADA = User(name="Ada", theAge=36)


@pytest.mark.parametrize(
    ("kind", "value", "content_type"),
    [
        (Welcome, {"name": "Ada", "age": 36}, JSON),
        (Letter, {"to": [ADA_], "notes": {"x": ADA_}}, JSON),
        (Order, Order(UUID, decimal.Decimal("9.90"), AT, "paid", ["a"]), JSON),
        (Point, Point(1), JSON),
        (Point, Point(1, 2), JSON),
        (Circle | Square, Square(2.0), JSON),
        (Node, {"value": 1, "next": {"value": 2}}, JSON),
        (Colour, Colour.RED, JSON),
        (User, ADA, JSON),
        (list[User], [ADA, ADA], JSON),
        (Team, {"lead": ADA, "members": [ADA]}, JSON),
        (User | None, None, JSON),
        (int, 5, JSON),
        (float, 5.5, JSON),
        (bool, True, JSON),
        (None, None, JSON),
        (int | None, None, JSON),
        (int | str, "x", JSON),
        (Literal["a", 1], 1, JSON),
        (dict[int, str], {1: "a"}, JSON),
        (tuple[int, str], (1, "a"), JSON),
        (set[int], {1, 2}, JSON),
        (datetime.datetime, AT, JSON),
        (uuid.UUID, UUID, JSON),
        (datetime.timedelta, datetime.timedelta(minutes=5), JSON),
        (str, "Zażółć", TEXT),
        (str, "", TEXT),
        (Annotated[str, msgspec.Meta(max_length=3)], "abc", TEXT),
        (bytes, b"\x00\xff", BYTES),
        (bytes, bytearray(b"a"), BYTES),
        (bytes, memoryview(b"a"), BYTES),
        (Any, "", TEXT),
        (bytes | None, None, JSON),
        (bytes | None, b"null", BYTES),
        (str | None, None, JSON),
        (str | None, "null", TEXT),
        (Any, {"a": [1, None]}, JSON),
        (Any, "text", TEXT),
        (Any, b"\xff", BYTES),
        (Any, None, JSON),
    ],
)
def test_what_is_written_is_read_back(kind: Any, value: Any, content_type: str) -> None:
    codec = Codec[Any](kind)
    encoded = codec.encode(value)
    assert encoded.content_type == content_type
    assert codec.decode(*encoded) == value


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Welcome, {"name": "Ada", "age": "36"}, "payload.age: expected int, got str"),
        (Welcome, {"name": "Ada", "age": True}, "payload.age: expected int, got bool"),
        (Welcome, {"name": "Ada", "age": None}, "payload.age: expected int, got null"),
        (Welcome, {"name": "Ada"}, "payload.age: is missing"),
        (Welcome, {"name": "Ada", "age": 1, "agee": 2}, "payload.agee: is not known to the type"),
        (Welcome, None, "payload: expected object, got null"),
        (Welcome, NOTHING, "payload: is missing"),
        (Welcome, [1], "payload: expected object, got array"),
        (Letter, {"to": [{"name": "A", "age": 1}, {"name": "B"}]}, "payload.to[1].age: is missing"),
        (Letter, {"to": [{"name": "A", "age": 1, "x": 1}]}, "payload.to[0].x: is not known"),
        (Letter, {"to": [], "notes": {"k": {"name": "A", "age": 1, "x": 1}}}, "payload.notes[k].x"),
        (Order, Order(UUID, 1, AT, "gone"), "payload.state: invalid enum value 'gone'"),  # type: ignore[arg-type]
        (Order, Order("x", 1, AT), "payload.id: invalid UUID"),  # type: ignore[arg-type]
        (Point, {"xAxis": 1, "z": 2}, "payload.z: is not known to the type"),
        (Circle | Square, {"type": "Square"}, "payload.side: is missing"),
        (Node, {"value": 1, "next": {"value": "x"}}, "payload.next.value: expected int, got str"),
        (Node, {"value": 1, "next": {"value": 1, "nxt": 1}}, "payload.next.nxt: is not known"),
        (list[Welcome], [{"name": 1, "age": 1}], "payload[0].name: expected str, got int"),
        (tuple[int, Welcome], [1, {"name": "a", "age": 1, "b": 1}], "payload[1].b: is not known"),
        (Welcome | None, {"name": "a", "age": 1, "b": 1}, "payload.b: is not known"),
        (User, {"name": "Ada", "theAge": "36"}, "payload.theAge: input should be a valid integer"),
        (list[User], [{"name": "Ada"}], "payload[0].theAge: is missing"),
        (Team, {"lead": ADA, "members": [{"name": 1, "theAge": 1}]}, "payload.members[0].name: "),
        (int, "5", "payload: expected int, got str"),
        (int, float("nan"), "payload: expected int, got null"),
        (str, 5, "payload: expected str, got int"),
        (str, "\ud800", "payload: has half of a surrogate pair"),
        (Annotated[str, msgspec.Meta(max_length=3)], "abcd", "payload: expected str of length"),
        (bytes, "text", "payload: expected bytes, got str"),
        (Literal["a", "b"], "c", "payload: invalid enum value 'c'"),
        (datetime.datetime, "yesterday", "payload: invalid RFC3339 encoded datetime"),
        (Any, object(), "payload: cannot be written as JSON: values of object"),
        (Any, {"a": object()}, "payload: cannot be written as JSON: values of object"),
    ],
)
def test_what_does_not_fit_is_not_written(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Codec[Any](kind).encode(value)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.path}: ")


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "value"),
    [
        (Welcome, b'{"name":"A","age":1,"new":2}', JSON, {"name": "A", "age": 1}),
        (Welcome, b'{"name":"A","age":1}', None, {"name": "A", "age": 1}),
        (Welcome, b'{"name":"A","age":1}', "text/plain", {"name": "A", "age": 1}),
        (Any, b'{"a":1}', "application/cloudevents+json; charset=utf-8", {"a": 1}),
        (Any, b"", None, None),
        (Any, b'{"a":1}', None, b'{"a":1}'),
        (Any, "é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        (str, b'"quoted"', JSON, "quoted"),
        (str, b'"quoted"', "text/html", '"quoted"'),
        (str, b"bare", None, "bare"),
        (str, b"", None, ""),
        (bytes, b'{"a":1}', JSON, b'{"a":1}'),
        (bytes, b"", None, b""),
        (bytes, b"\xff", "image/png", b"\xff"),
        (bytes | None, b"null", JSON, None),
        (int | None, b"", None, None),
    ],
)
def test_what_others_have_written_is_read(
    kind: Any, body: bytes, content_type: str | None, value: Any
) -> None:
    assert Codec[Any](kind).decode(body, content_type) == value


@pytest.mark.parametrize(
    ("kind", "body", "content_type", "message"),
    [
        (Welcome, b"{", JSON, "payload: is not JSON"),
        (Welcome, b"\xff", JSON, "payload: is not JSON"),
        (Welcome, b"", JSON, "payload: is missing"),
        (Any, b"[" * 100_000, JSON, "payload: is not JSON"),
        (str, b"\xff", "text/plain", "payload: is not text in utf-8"),
        (str, b"x", "text/plain; charset=klingon", "payload: is not text in klingon"),
        (str, b"x", "text/plain; charset=\x00", "payload: is not text in \x00"),
        (str, b"x", "text/plain; charset=hex", "payload: is not text in hex"),
        (str, b"x", "text/plain; charset=undefined", "payload: is not text in undefined"),
        (str, b"1", JSON, "payload: expected str, got int"),
    ],
)
def test_what_does_not_fit_is_not_read(
    kind: Any, body: bytes, content_type: str | None, message: str
) -> None:
    with pytest.raises(PayloadError, match=message):
        Codec[Any](kind).decode(body, content_type)


def test_a_type_that_cannot_be_checked_is_refused() -> None:
    with pytest.raises(LqError, match=r"cannot be checked: .* not supported"):
        Codec[Any](Welcome | Order)


class Foreign:
    pass


def test_a_value_of_a_foreign_class_is_refused() -> None:
    with pytest.raises(PayloadError, match="values of Foreign cannot be checked"):
        Codec[Any](list[Foreign]).decode(b"[{}]", JSON)
