"""Payloads and answers as pages show them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.daemon.panel.content import SHOWN, SHOWN_IN_HEX, content, hex_rows, pretty

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.sampled_from([None, 3]))
def test_json_laid_out_means_the_same(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    laid_out = pretty(text, len(text) * 100 + 100)
    assert json.loads(laid_out) == value
    assert pretty(laid_out, len(laid_out) + 1) == laid_out


@given(VALUES)
def test_json_is_laid_out_as_python_does_it(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert pretty(text, 1 << 30) == json.dumps(value, ensure_ascii=False, indent=2)


def test_nothing_is_spelled_anew() -> None:
    text = '{"n":1.10,"n":1E5,"u":"\\u00e4\\/","big":12345678901234567890123}'
    assert pretty(text, 1000).replace("\n", "").replace("  ", "").replace(": ", ":") == text


def test_what_is_nested_deep_stays_small() -> None:
    deep = "[" * 900 + "1," * 20_000 + "1" + "]" * 900
    shown = content(deep.encode(), "application/json")
    assert shown.cut
    assert shown.pretty is not None
    assert len(shown.pretty) == SHOWN
    assert pretty(deep, 1000).count("\n") < 60


@pytest.mark.parametrize(
    ("body", "kind", "is_json", "is_text"),
    [
        (b'{"a":1}', "application/json", True, True),
        (b" \n[1]\n", None, True, True),
        (b'{"a":1}', "text/plain", True, True),
        (b'{"a":1', "application/json", False, True),
        (b'"text"', "application/json", False, True),
        (b"[" * 100_000, "application/json", False, True),
        (b"[NaN]", "application/json", False, True),
        (b"\xff", "text/plain", False, False),
        (b'{"a":"\xff"}', "application/json", False, False),
        (b"a\0b", None, False, False),
        (b"", None, False, True),
    ],
)
def test_how_bytes_can_be_read(body: bytes, kind: str | None, is_json: bool, is_text: bool) -> None:
    shown = content(body, kind)
    assert (shown.pretty is not None, shown.text is not None) == (is_json, is_text)
    assert shown.size == len(body)
    assert not shown.is_sealed


def test_of_what_is_long_the_beginning_is_shown() -> None:
    shown = content("\u00e4".encode() * SHOWN * 2, None)
    assert shown.text == "\u00e4" * SHOWN
    assert shown.cut
    assert shown.hexed.count("\n") == SHOWN_IN_HEX // 16 - 1
    assert not content(b"x" * SHOWN, None).cut


def test_in_hex() -> None:
    rows = hex_rows(b"GET / \x00\x7f\xff\x80~ abc" + b"d")
    assert rows == "00000000  47 45 54 20 2f 20 00 7f ff 80 7e 20 61 62 63 64  GET / ....~ abcd"
    assert hex_rows(b"x" * 17).endswith("\n00000010  78" + " " * 47 + "x")
    assert hex_rows(b"") == ""


@pytest.mark.parametrize(
    ("kind", "is_sealed"),
    [
        ("application/vnd.lq.encrypted; v=1", True),
        (" APPLICATION/vnd.LQ.encrypted", True),
        ("application/vnd.lq.encrypted+json", False),
        ("text/plain; application/vnd.lq.encrypted", False),
    ],
)
def test_what_is_encrypted(kind: str, is_sealed: bool) -> None:
    shown = content(b"{}", kind)
    assert shown.is_sealed == is_sealed
    assert shown.sealed == ("e30=" if is_sealed else None)
    assert (shown.pretty is None) == is_sealed
