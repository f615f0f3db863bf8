"""Tokens: their form, the keyring, and who may do what."""

from __future__ import annotations

import hashlib
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.daemon.auth import Keyring, allows, digest, new_token, well_formed
from lq.errors import Unauthorized
from lq.model import Principal, Scope, Token

NOW = 1_800_000_000_000
TOKEN = new_token(b"\x01" * 32)


def record(name: str, token: str, *, expires_at: int | None = None) -> Token:
    return Token(
        name=name,
        digest=digest(token),
        scopes=frozenset({Scope.PUSH}),
        created_at=NOW,
        expires_at=expires_at,
    )


def refusal(keyring: Keyring, token: str, now: int = NOW) -> tuple[str, str | None]:
    with pytest.raises(Unauthorized) as refused:
        keyring.authenticate(token, now)
    return refused.value.message, refused.value.hint


@given(st.binary(min_size=32, max_size=32))
def test_a_token_is_one_word_of_fixed_length(random: bytes) -> None:
    token = new_token(random)
    assert re.fullmatch(r"lq_[0-9A-Za-z]{49}", token)
    assert well_formed(token)


@given(st.sets(st.binary(min_size=32, max_size=32), min_size=2, max_size=9))
def test_no_two_tokens_are_alike(randoms: set[bytes]) -> None:
    assert len({new_token(random) for random in randoms}) == len(randoms)


def test_the_extremes_of_chance_fit() -> None:
    assert well_formed(new_token(bytes(32)))
    assert well_formed(new_token(b"\xff" * 32))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_too_little_chance_makes_no_token(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        new_token(bytes(length))


@given(st.integers(3, len(TOKEN) - 1), st.sampled_from("0123456789ABCXYZabcxyz"))
def test_one_mistyped_character_is_noticed(place: int, char: str) -> None:
    mistyped = TOKEN[:place] + char + TOKEN[place + 1 :]
    assert well_formed(mistyped) is (mistyped == TOKEN)


@given(st.integers(3, len(TOKEN) - 2))
def test_two_swapped_characters_are_noticed(place: int) -> None:
    swapped = TOKEN[:place] + TOKEN[place + 1] + TOKEN[place] + TOKEN[place + 2 :]
    assert well_formed(swapped) is (swapped == TOKEN)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "lq_",
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN + "\n",
        TOKEN[3:],
        TOKEN.upper(),
        "lqs_" + TOKEN[3:],
    ],
)
def test_what_is_no_token(token: str) -> None:
    assert not well_formed(token)


def test_what_is_stored_is_the_sha_256() -> None:
    assert digest(TOKEN) == hashlib.sha256(TOKEN.encode("ascii")).digest()


def test_a_keyring_knows_its_tokens() -> None:
    other = new_token(b"\x02" * 32)
    mail, shop = record("mail", TOKEN), record("shop", other)
    keyring = Keyring([mail, shop])
    assert keyring.authenticate(TOKEN, NOW) is mail
    assert keyring.authenticate(other, NOW) is shop


def test_a_token_added_is_let_in_and_one_revoked_is_out_at_once() -> None:
    keyring = Keyring([])
    refusal(keyring, TOKEN)
    keyring.add(record("mail", TOKEN))
    assert keyring.authenticate(TOKEN, NOW).name == "mail"
    keyring.revoke("nobody")
    assert keyring.authenticate(TOKEN, NOW).name == "mail"
    keyring.revoke("mail")
    refusal(keyring, TOKEN)


def test_a_name_may_be_given_again_after_a_revocation() -> None:
    old, new = record("mail", new_token(b"\x03" * 32)), record("mail", TOKEN)
    keyring = Keyring([msgspec.structs.replace(old, revoked_at=NOW - 1), new])
    assert keyring.authenticate(TOKEN, NOW) is new
    refusal(keyring, new_token(b"\x03" * 32))


def test_a_token_expires_in_its_millisecond() -> None:
    keyring = Keyring([record("mail", TOKEN, expires_at=NOW)])
    assert keyring.authenticate(TOKEN, NOW - 1).name == "mail"
    refusal(keyring, TOKEN, NOW)


def test_every_refusal_reads_the_same() -> None:
    expired, revoked = new_token(b"\x04" * 32), new_token(b"\x05" * 32)
    keyring = Keyring(
        [
            record("expired", expired, expires_at=NOW - 1),
            msgspec.structs.replace(record("revoked", revoked), revoked_at=NOW - 1),
        ]
    )
    presented = [
        "",
        "x",
        "lq_",
        TOKEN,
        expired,
        revoked,
        "é",
        "\udc80\ud800",
        "a" * 100_000,
        "\x00",
    ]
    assert len({refusal(keyring, token) for token in presented}) == 1


PUSH, READ, ADMIN = (frozenset({scope}) for scope in (Scope.PUSH, Scope.READ, Scope.ADMIN))


@pytest.mark.parametrize(
    ("scopes", "scope", "allowed"),
    [
        (PUSH, Scope.PUSH, True),
        (PUSH, Scope.READ, False),
        (PUSH, Scope.ADMIN, False),
        (READ, Scope.READ, True),
        (READ, Scope.PUSH, False),
        (READ, Scope.ADMIN, False),
        (ADMIN, Scope.PUSH, True),
        (ADMIN, Scope.READ, True),
        (ADMIN, Scope.ADMIN, True),
        (PUSH | READ, Scope.READ, True),
        (PUSH | READ, Scope.ADMIN, False),
        (frozenset(), Scope.READ, False),
    ],
)
def test_scopes(scopes: frozenset[Scope], scope: Scope, allowed: bool) -> None:
    assert allows(Principal("p", scopes), scope, "mail") is allowed
    assert allows(Principal("p", scopes), scope, None) is allowed


@pytest.mark.parametrize(
    ("patterns", "queue", "allowed"),
    [
        (("mail",), "mail", True),
        (("mail",), "mails", False),
        (("mail",), "Mail", False),
        (("mail",), "mail\n", False),
        (("mail*",), "mail/welcome", True),
        (("*/mail",), "shop/eu/mail", True),
        (("mail-?",), "mail-1", True),
        (("mail-?",), "mail-12", False),
        (("mail-[0-4]",), "mail-5", False),
        (("shop", "mail"), "mail", True),
        (("*",), "anything at all", True),
        (("zażółć*",), "zażółć/1", True),
        ((), "anything at all", True),
    ],
)
def test_queue_patterns(patterns: tuple[str, ...], queue: str, allowed: bool) -> None:
    assert allows(Principal("p", PUSH, patterns), Scope.PUSH, queue) is allowed


def test_patterns_limit_an_admin_too() -> None:
    limited = Principal("p", ADMIN, ("mail*",))
    assert allows(limited, Scope.ADMIN, "mail")
    assert not allows(limited, Scope.ADMIN, "shop")


def test_a_listing_is_for_the_listing_to_judge_but_tokens_are_not_for_limited_hands() -> None:
    assert allows(Principal("p", READ, ("mail*",)), Scope.READ, None)
    assert allows(Principal("p", ADMIN, ("mail*",)), Scope.READ, None)
    assert not allows(Principal("p", ADMIN, ("mail*",)), Scope.ADMIN, None)
    assert not allows(Principal("p", PUSH, ("mail*",)), Scope.READ, None)
