"""The header Idempotency-Key, and which requests are the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.errors import ValidationError
from lq.wire.describe import PUSH
from lq.wire.idempotency import digest_request, read_idempotency_key

PLAIN = ((b"Content-Type", b"text/plain"), (b"x-lq-key", b"k"))


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("a", "a"),
        ('"a"', "a"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("a+b/c==:*~", "a+b/c==:*~"),
        ('"with space, comma; and so on"', "with space, comma; and so on"),
        (r'"a \"quote\" and a \\"', r'a "quote" and a \ '.strip()),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
        ('"' + r"\\" * 255 + '"', "\\" * 255),
    ],
)
def test_a_key_is_what_is_in_the_quotes(value: str, key: str) -> None:
    assert read_idempotency_key([value]) == key


@pytest.mark.parametrize(
    "value",
    [
        *("", '""', '"', '"a', 'a"', 'a"b', "a b", "a,b", "a;b=1", '"a";b=1', '"a", "b"', "a\\b"),
        *(r'"a\b"', r'"a\"', "é", "\udce9", '"é"', '"a\tb"', "\x7f", "x" * 256, f'"{"x" * 256}"'),
        ":YWJj:\n",
    ],
)
def test_what_is_no_key_is_refused(value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read_idempotency_key([value])
    [issue] = refused.value.issues
    assert issue.path == "Idempotency-Key"
    assert "1 to 255 characters" in issue.message


def test_two_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than once"):
        read_idempotency_key(["a", "a"])


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_any_printable_ascii_can_be_quoted(key: str) -> None:
    quoted = key.replace("\\", r"\\").replace('"', r"\"")
    assert read_idempotency_key([f'"{quoted}"']) == key


def test_the_example_of_the_description_is_a_key() -> None:
    [field] = [field for field in PUSH if field.name == "Idempotency-Key"]
    assert read_idempotency_key([str(field.form.example)])


def test_order_and_other_headers_make_no_other_request() -> None:
    same: list[Any] = [
        PLAIN,
        PLAIN[::-1],
        [(name.upper(), value) for name, value in PLAIN],
        [*PLAIN, (b"User-Agent", b"x"), (b"traceparent", b"00-1"), (b"Authorization", b"y")],
    ]
    assert len({digest_request(("push", "q"), headers, b"body") for headers in same}) == 1


def test_whatever_decides_what_is_done_makes_another_request() -> None:
    others: list[Any] = [
        (("push", "q"), PLAIN, b"body"),
        (("push", "r"), PLAIN, b"body"),
        (("schedule", "q"), PLAIN, b"body"),
        (("push",), PLAIN, b"body"),
        (("push", "q", ""), PLAIN, b"body"),
        (("push", "q"), PLAIN, b"body "),
        (("push", "q"), PLAIN, b""),
        (("push", "q"), PLAIN[:1], b"body"),
        (("push", "q"), PLAIN[1:], b"body"),
        (("push", "q"), ((b"Content-Type", b"text/plai"), (b"nx-lq-key", b"k")), b"body"),
        (("push", "q"), (*PLAIN, (b"x-lq-label", b"")), b"body"),
        (("push", "q"), ((b"content-type", b"text/html"), (b"x-lq-key", b"k")), b"body"),
    ]
    assert len({digest_request(*one) for one in others}) == len(others)
