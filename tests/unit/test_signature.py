"""Signatures against known vectors, published verifiers and everything nearly right."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from lq.signature import (
    SignatureError,
    new_secret,
    sign,
    sign_webhook,
    verify,
    verify_webhook,
    webhook_key,
    webhook_secret,
)
from lq.signature import Webhook as WebhookHeaders

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "signature_vectors.json").read_text())

NOW = 1_764_000_000_000
SECRET = "lqs_" + "5a" * 32
BODY = b'{"a":1}'
GOOD = sign(SECRET, BODY, NOW)
DIGEST = GOOD.rpartition("=")[2]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    secret, body, at = vector["secret"], bytes.fromhex(vector["body_hex"]), vector["timestamp"]
    assert sign(secret, body, at) == vector["header"]
    assert verify(vector["header"], body, [secret], at) == secret


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.integers(10**12, 10**13 - 1)
)
def test_what_is_signed_verifies_and_for_that_body_alone(secret: str, body: bytes, at: int) -> None:
    header = sign(secret, body, at)
    assert verify(header, body, [secret], at) == secret
    with pytest.raises(SignatureError):
        verify(header, body + b"x", [secret], at)


@given(st.integers(0, len(GOOD) - 1), st.characters(exclude_categories=["Cs"]), st.booleans())
def test_a_signature_with_one_character_changed_or_added_is_refused(
    at: int, character: str, added: bool
) -> None:
    changed = GOOD[:at] + character + GOOD[at + (not added) :]
    assume(changed != GOOD)
    with pytest.raises(SignatureError):
        verify(changed, BODY, [SECRET], NOW)


def test_a_mebibyte_is_signed_whole() -> None:
    body = bytes(range(256)) * 4096
    header = sign(SECRET, body, NOW)
    assert verify(header, body, [SECRET], NOW) == SECRET
    with pytest.raises(SignatureError):
        verify(header, body[:-1] + b"\x00", [SECRET], NOW)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        *[
            (header, "malformed")
            for header in (
                "garbage",
                DIGEST,
                f"t={NOW},s={DIGEST}",
                f"v=1,s={DIGEST},t={NOW}",
                f"v=1,t={NOW}",
                f"v=1,t={NOW},s=",
                f"v=1,t={NOW},s={DIGEST.upper()}",
                f"v=1,t={NOW},s={DIGEST[:-1]}",
                f"v=1,t={NOW},s={DIGEST}0",
                f"v=1,t={NOW},s={DIGEST},s={DIGEST}",
                f"v=1,t={NOW},s={'0' * 64},s={DIGEST}",
                f"{GOOD},{GOOD}",
                f"{GOOD}, {GOOD}",
                f"{GOOD},",
                f"{GOOD}\n",
                f" {GOOD}",
                f"v=1, t={NOW}, s={DIGEST}",
                f"V=1,T={NOW},S={DIGEST}",
                f"v=,t={NOW},s={DIGEST}",
                f"v=one,t={NOW},s={DIGEST}",
                f"v=1;t={NOW};s={DIGEST}",
                f"v=1,t={NOW},s={DIGEST[:-1]}\uff10",
                "v=1," * 10_000,
                "\udc80",
            )
        ],
        *[
            (header, "version")
            for header in (
                "v=2",
                f"v=2,t={NOW},s={DIGEST}",
                "v=2,whatever",
                f"v=01,t={NOW},s={DIGEST}",
            )
        ],
        *[
            (f"v=1,t={at},s={DIGEST}", "timestamp")
            for at in (
                *[
                    "",
                    "now",
                    NOW // 10,
                    NOW * 10,
                    f"0{NOW // 10}",
                    f"+{NOW // 10}",
                    f"-{NOW // 10}",
                ],
                *[
                    f" {NOW}",
                    f"{NOW}.0",
                    f"{NOW}\n",
                    f"{str(NOW)[:-1]}\u0663",
                    NOW // 1000,
                    "1" * 5_000,
                ],
            )
        ],
        (sign(SECRET, BODY, NOW - 120_001), "stale"),
        (sign(SECRET, BODY, NOW + 120_001), "stale"),
        (f"v=1,t={NOW},s={'0' * 64}", "mismatch"),
        (f"v=1,t={NOW + 1},s={DIGEST}", "mismatch"),
        (sign("another", BODY, NOW), "mismatch"),
        (sign(SECRET, b"", NOW), "mismatch"),
    ],
)
def test_what_is_refused_and_why(header: str | None, reason: str) -> None:
    with pytest.raises(SignatureError, match=r"x-lq-signature") as refused:
        verify(header, BODY, [SECRET], NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize("off_by", [-120_000, 0, 120_000])
def test_two_minutes_off_is_tolerated(off_by: int) -> None:
    assert verify(sign(SECRET, BODY, NOW + off_by), BODY, [SECRET], NOW) == SECRET


def test_the_tolerance_is_the_callers() -> None:
    header = sign(SECRET, BODY, NOW - 1_001)
    assert verify(header, BODY, [SECRET], NOW, tolerance_ms=1_001) == SECRET
    with pytest.raises(SignatureError):
        verify(header, BODY, [SECRET], NOW, tolerance_ms=1_000)


def test_any_live_secret_will_do_and_it_says_which() -> None:
    assert verify(GOOD, BODY, ["new", SECRET, "older"], NOW) == SECRET
    with pytest.raises(SignatureError):
        verify(GOOD, BODY, [], NOW)


def test_a_secret_is_32_bytes_written_out() -> None:
    secret = new_secret(bytes(range(32)))
    assert secret == "lqs_000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match="32 random bytes"):
            new_secret(bytes(length))


def webhook_headers(body: bytes, at_s: int, *secrets: str) -> dict[str, str]:
    signatures = [sign_webhook(webhook_key(secret), "job_1", at_s, body) for secret in secrets]
    return {
        "webhook-id": "job_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signatures),
    }


@pytest.fixture
def now_s() -> int:
    # The published verifier asks the machine for the time.
    return int(datetime.now(tz=UTC).timestamp())


@pytest.mark.parametrize("body", [b'{"a":1}', '{"name":"Zażółć 🔑"}'.encode(), b"[]"])
def test_the_published_verifier_accepts_our_webhooks(body: bytes, now_s: int) -> None:
    verifier = Webhook(webhook_secret(SECRET))
    assert verifier.verify(body, webhook_headers(body, now_s, SECRET)) == json.loads(body)


def test_during_a_rotation_either_secret_verifies(now_s: int) -> None:
    headers = webhook_headers(BODY, now_s, "old", "new")
    for secret in ("old", "new"):
        assert Webhook(webhook_secret(secret)).verify(BODY, headers) == {"a": 1}


@pytest.mark.parametrize(
    "tamper",
    [
        lambda headers, now: {**headers, "webhook-id": "job_2"},
        lambda headers, now: {**headers, "webhook-timestamp": str(now - 1)},
        lambda headers, now: webhook_headers(BODY, now, "another"),
        lambda headers, now: webhook_headers(b"{}", now, SECRET),
        lambda headers, now: webhook_headers(BODY, now - 3_600, SECRET),
    ],
)
def test_the_published_verifier_refuses_what_was_changed(
    tamper: Callable[[dict[str, str], int], dict[str, str]], now_s: int
) -> None:
    headers = tamper(webhook_headers(BODY, now_s, SECRET), now_s)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secret(SECRET)).verify(BODY, headers)


def test_the_published_signer_agrees() -> None:
    at = datetime(2026, 11, 21, 21, 26, 40, tzinfo=UTC)
    theirs = Webhook(webhook_secret(SECRET)).sign("job_1", at, BODY.decode())
    assert theirs == sign_webhook(webhook_key(SECRET), "job_1", int(at.timestamp()), BODY)


def headers_at(at_s: int, *secrets: str, **changed: str | None) -> WebhookHeaders:
    found = webhook_headers(BODY, at_s, *secrets)
    parts = {name: found[f"webhook-{name}"] for name in WebhookHeaders._fields}
    return WebhookHeaders(**{**parts, **changed})


@pytest.mark.parametrize("secret", ["old", "new"])
@pytest.mark.parametrize("off_s", [-120, 0, 120])
def test_our_verifier_accepts_any_live_secret(secret: str, off_s: int) -> None:
    presented = headers_at(NOW // 1000 + off_s, "old", "new")
    verify_webhook(presented, BODY, [secret], NOW)
    verify_webhook(presented, BODY, ["another", secret], NOW)


@pytest.mark.parametrize(
    ("presented", "reason"),
    [
        (headers_at(NOW // 1000, SECRET, signature=None), "no webhook"),
        (headers_at(NOW // 1000, SECRET, id=""), "no webhook"),
        (headers_at(NOW // 1000, SECRET, timestamp=None), "no webhook"),
        (headers_at(NOW // 1000 - 121, SECRET), "stale"),
        (headers_at(NOW // 1000 + 121, SECRET), "stale"),
        (headers_at(NOW // 1000, "another"), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, id="job_2"), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, timestamp=f"{NOW // 1000 - 1}"), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, timestamp=f" {NOW // 1000}"), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, timestamp=f"{NOW}"), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, signature="v1,é v1, "), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, signature="v1,\udcff"), "webhook mismatch"),
        (headers_at(NOW // 1000, SECRET, id="\udcff"), "webhook mismatch"),
    ],
)
def test_our_verifier_says_what_is_wrong(presented: WebhookHeaders, reason: str) -> None:
    with pytest.raises(SignatureError) as caught:
        verify_webhook(presented, BODY, [SECRET], NOW)
    assert caught.value.reason == reason


def test_the_webhook_key_is_not_the_secret() -> None:
    assert len(webhook_key(SECRET)) == 32
    assert webhook_key(SECRET) != webhook_key("another")
    assert SECRET.encode() not in webhook_key(SECRET)
    assert webhook_key(SECRET).hex() not in SECRET
