"""Headers in a text field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.daemon.panel.header_lines import headers_of, lines_of

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,9}", fullmatch=True)
VALUES = st.from_regex(r"([!-~][ -~]{0,9})?[!-~]|", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_shown_is_read_again(headers: dict[str, str]) -> None:
    if len({name.lower() for name in headers}) == len(headers):
        assert headers_of(lines_of(headers)) == headers


def test_spaces_and_empty_lines_say_nothing() -> None:
    assert headers_of("\n X-Team :  mail \r\n\n X-Two: a: b\n") == {
        "X-Team": "mail",
        "X-Two": "a: b",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X-A: 1\n\nno colon", 'line 3: expected "Name: value"'),
        (": value", 'line 1: expected "Name: value"'),
        ("X-A: 1\nx-a: 2", "line 2: x-a is there more than once"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        headers_of(text)
