"""Which failures are alike, on texts as handlers and lq itself write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.fingerprint import fingerprint, normal_form

ALIKE = [
    ("status 500: order 4711 is unknown", "status 500: order 12 is unknown"),
    ("closed: cannot connect to 10.0.0.7:8080", "closed: cannot connect to 192.168.1.1:443"),
    ("closed: cannot connect to [::1]:80", "closed: cannot connect to [fe80::aa:1]:8080"),
    ("timeout: no answer within 30s", "timeout: no answer within 1m30s"),
    ('no user "ada"', 'no user "bob o\'hara"'),
    ("no user 'ada'", "no user 'bob'"),
    (
        "job_01a20034f82443630e6f6c114dee3188 is gone",
        "job_01b20034f82443630e6f6c114dee3189 is gone",
    ),
    (
        "request 7f3c1e52-90b1-4f0e-8b77-2f5a6f0f9f10 failed",
        "request 00000000-90b1-4f0e-8b77-2f5a6f0f9f10 failed",
    ),
    ("at 2026-11-27T02:31:07.120Z", "at 2026-12-01T00:00:00Z"),
    ("segfault at 0xdeadbeef", "segfault at 0x00c0ffee"),
    ("commit deadbeef", "commit 1234abcd"),
    ("killed by SIGKILL  (exit 137)", "killed by SIGKILL (exit 9)"),
]
UNLIKE = [
    ("timeout: no answer", "closed: no answer"),
    ("it can't be, don't ask", "it can't happen, don't ask"),
    ("redirect to somewhere", "redirect"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_differs_from_job_to_job_does_not_count(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)
    assert fingerprint("t", None, one) == fingerprint("t", None, other)


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_other_words_are_another_failure(one: str, other: str) -> None:
    assert fingerprint("t", None, one) != fingerprint("t", None, other)


def test_target_and_status_count() -> None:
    kinds = {
        fingerprint(target, status, "x")
        for target in ("https://a.example/1", "https://a.example/2")
        for status in (None, 500, 502)
    }
    assert len(kinds) == 6


@given(st.text(), st.none() | st.integers(100, 599), st.text())
def test_any_text_has_a_fingerprint(target: str, status: int | None, error: str) -> None:
    found = fingerprint(target, status, error)
    assert len(found) == 16
    assert int(found, 16) >= 0
