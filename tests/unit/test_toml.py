"""Lines of keys, and what is said of text that is not TOML."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.toml import NotToml, decode, key_lines, parse

DOCUMENT = '''\
# [not] = "a table"
listen = "a # b" # c = 1
[dispatch]  # comment
timeout = "5m"
a . b."c d" = [ "x", # ]
  { z = 1 }, "]",
]
text = """
 [no]
 k = 1 \\""" still
"""
literal = \'\'\'
x = 1\'\'\'
[queues."/api/mail"]
headers = { "X-A" = "1", b = { c = 1.5 }, d.e = [ [ 1 ], 2 ] }
since = 1979-05-27 07:32:00
[ queues . 'q"]' ]
retry = 1
[[many]]
one = 1
[[many]]
two = 2
[many.inner]
three = 3
'''


def test_each_key_has_the_line_it_stands_on() -> None:
    assert key_lines(DOCUMENT) == {
        ("listen",): 2,
        ("dispatch",): 3,
        ("dispatch", "timeout"): 4,
        ("dispatch", "a"): 5,
        ("dispatch", "a", "b"): 5,
        ("dispatch", "a", "b", "c d"): 5,
        ("dispatch", "text"): 8,
        ("dispatch", "literal"): 12,
        ("queues",): 14,
        ("queues", "/api/mail"): 14,
        ("queues", "/api/mail", "headers"): 15,
        ("queues", "/api/mail", "headers", "X-A"): 15,
        ("queues", "/api/mail", "headers", "b"): 15,
        ("queues", "/api/mail", "headers", "b", "c"): 15,
        ("queues", "/api/mail", "headers", "d"): 15,
        ("queues", "/api/mail", "headers", "d", "e"): 15,
        ("queues", "/api/mail", "since"): 16,
        ("queues", 'q"]'): 17,
        ("queues", 'q"]', "retry"): 18,
        ("many",): 19,
        ("many", "0"): 19,
        ("many", "0", "one"): 20,
        ("many", "1"): 21,
        ("many", "1", "two"): 22,
        ("many", "1", "inner"): 23,
        ("many", "1", "inner", "three"): 24,
    }


def test_line_ends_of_windows_count_the_same() -> None:
    assert key_lines(DOCUMENT.replace("\n", "\r\n")) == key_lines(DOCUMENT)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


keys = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.booleans().map(lambda truth: str(truth).lower()),
    st.text(max_size=20).filter(str.isprintable).map(quoted),
    st.just('"""\n[x]\ny = 1\n"""'),
    st.just("'''\n# ' = [\n'''"),
    st.just('[ 1, # ]\n [ 2, "]" ],\n]'),
    st.just('"""""""" # four quotes end it'),
)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4))
def test_the_scan_finds_what_tomllib_reads(document: dict[str, dict[str, str]]) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, assignments in document.items():
        expected[table,] = len(lines) + 1
        lines.append(f"[{quoted(table)}] # [comment]")
        for key, value in assignments.items():
            expected[table, key] = len(lines) + 1
            lines += f"  {quoted(key)} = {value}".split("\n")
    text = "\n".join(lines)
    assert tomllib.loads(text).keys() == document.keys()
    assert key_lines(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = 1\n[b]\n[b]\n", 3, "Cannot declare [b] twice"),
        ('[x."y.z"]\n\n[x."y.z"]', 3, "Cannot declare [x.y.z] twice"),
        ("a = 1\na = 2\n", 2, "Cannot overwrite a value"),
        ("a = \n", 1, "Invalid value"),
        ("\n\na = [", 3, "Invalid value"),
        ("a = " + "[" * 5000, 1, "nested too deeply"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(NotToml) as raised:
        parse(text)
    assert (raised.value.line, str(raised.value)) == (line, message)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert decode(b"\xef\xbb\xbfa = 1") == "a = 1"


def test_bytes_that_are_not_utf8_are_refused_with_their_line() -> None:
    with pytest.raises(NotToml) as raised:
        decode(b'a = 1\nb = "\xff"\n')
    assert raised.value.line == 2
