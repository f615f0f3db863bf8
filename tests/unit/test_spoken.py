"""The ear that listens to all daemons under test is there, and hears what it should."""

from __future__ import annotations

import logging
import secrets

import pytest

from lq.daemon.auth import new_token
from lq.signature import new_secret, sign, sign_webhook, webhook_key, webhook_secret
from tests.support.spoken import EAR, Ear

SECRET = new_secret(secrets.token_bytes(32))


def test_it_listens_to_all_that_is_logged() -> None:
    assert EAR in logging.getLogger().handlers
    before = EAR.heard
    logging.getLogger("lq.daemon.somewhere").debug("a detail")
    logging.getLogger("aiohttp.server").info("something of a library's")
    assert EAR.heard == before + 2


@pytest.mark.parametrize(
    "said",
    [
        SECRET,
        webhook_secret(SECRET),
        new_token(secrets.token_bytes(32)),
        sign(SECRET, b"body", 1_800_000_000_000),
        sign_webhook(webhook_key(SECRET), "job_1", 1, b"body"),
        "Authorization: Bearer xyz",
        "Basic YWRhOg==",
        "authorization: bearer xyz",
        "BASIC YWRhOg==",
        "Bearer TOKENS",
        f"x{new_token(secrets.token_bytes(32))}",
        f"%20{new_token(bytes(32))}z",
        '{"a": "body-canary"}',
        r"b'\xffpayload-canary'",
    ],
)
def test_it_knows_what_must_not_be_said(said: str) -> None:
    ear = Ear()
    ear.hear(f"WARNING it was: {said}, and that is that")
    assert len(ear.leaks) == 1


def test_it_hears_tracebacks() -> None:
    ear = Ear()
    log = logging.Logger("lq.test")
    log.addHandler(ear)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("a bug")
    assert len(ear.leaks) == 1


@pytest.mark.parametrize(
    "said",
    [
        "lq 0.1.0 is ready (pid 7)",
        "  api     http://127.0.0.1:7420/api/v1",
        "cannot record job job_01a20034f82443630e6f6c114dee3188 yet: the disk is full",
        "the signing secret /data/secret can be read by other users",
        "expected `Authorization: Bearer TOKEN`",
        "bearer: TOKEN",
        "lq_guess is no token",
        "/tmp/pytest-of-ada/test_no_canary_is_said0/data",
    ],
)
def test_it_minds_nothing_else(said: str) -> None:
    ear = Ear()
    ear.hear(said)
    assert ear.leaks == []
