"""Payloads that the daemon cannot read: the format to the byte, and whatever must not decrypt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, TypedDict

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lq import Job, PayloadError, Queue, Retry
from lq.errors import LqError
from lq.sdk.codec import Encoded
from lq.sdk.sealing import Sealer, key_id, read_key
from lq.sdk.settings import SettingMissing
from tests.support.signed import SECRET, call, header

KEY = "0f" * 32
OLD = "1e" * 32
RAW = bytes.fromhex(KEY)
KID = hmac.digest(RAW, b"lq-e2e-kid-v1", "sha256")[:8].hex()
PLAIN = Encoded(b'{"card":"4111"}', "application/json")


class Card(TypedDict):
    card: str


def opened(sealed: Encoded, purpose: str = "payload", kind: str = "application/json") -> bytes:
    """What docs/handlers.md says, written down a second time."""
    assert sealed.content_type == (f'application/vnd.lq.encrypted; v=1; kid={KID}; type="{kind}"')
    context = f"lq-e2e-v1\n{purpose}\nmail/é\n{KID}\n{kind}".encode()
    return AESGCM(RAW).decrypt(sealed.body[:12], sealed.body[12:], context)


def test_the_format_is_the_one_that_is_described() -> None:
    sealed = Sealer("mail/é", KEY).seal(PLAIN, "payload")
    assert opened(sealed) == PLAIN.body
    assert Sealer("mail/é", KEY).unseal(sealed, "payload") == PLAIN


def test_a_format_once_written_is_read_for_ever() -> None:
    sealed = Sealer("mail/é", KEY).seal(PLAIN, "payload", "user-1")
    assert hashlib.sha256(sealed.body).hexdigest() == (
        "1f5e9c73bec4b2d3ee1ccf2c5cbd592ab235f3134b303218db65bb4f860e150b"
    )


@pytest.mark.parametrize(
    "plain", [Encoded(b"", None), Encoded(b"x", 'text/x; a="b\\c"'), Encoded(bytes(70_000), "a/b")]
)
def test_what_was_sealed_is_unsealed(plain: Encoded) -> None:
    sealer = Sealer("q", KEY)
    assert sealer.unseal(sealer.seal(plain, "payload"), "payload") == plain


def test_the_same_item_is_the_same_bytes_and_no_other_is() -> None:
    sealer = Sealer("q", KEY)

    def sealed(body: bytes, key: str | None, of: Sealer = sealer) -> bytes:
        return of.seal(Encoded(body, "a/b"), "payload", key).body

    assert sealed(b"a", "k") == sealed(b"a", "k")
    others = [
        sealed(b"b", "k"), sealed(b"a", "l"), sealed(b"a", None), sealed(b"a", None),
        sealed(b"a", "k", Sealer("p", KEY)), sealed(b"a", "k", Sealer("q", OLD)),
    ]  # fmt: skip
    nonces = {body[:12] for body in [sealed(b"a", "k"), *others]}
    assert len(nonces) == 7


def test_old_keys_still_decrypt_and_the_first_encrypts() -> None:
    old, both = Sealer("q", OLD), Sealer("q", f"{KEY}, {OLD}")
    assert both.unseal(old.seal(PLAIN, "payload"), "payload") == PLAIN
    assert f"kid={KID}" in str(both.seal(PLAIN, "payload").content_type)
    with pytest.raises(PayloadError, match=f"under the key {KID}, unknown in this app"):
        old.unseal(both.seal(PLAIN, "payload"), "payload")


def changed(sealed: Encoded, at: int) -> Encoded:
    body = bytearray(sealed.body)
    body[at] ^= 1
    return sealed._replace(body=bytes(body))


@pytest.mark.parametrize("at", [0, 11, 12, -17, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    sealer = Sealer("q", KEY)
    with pytest.raises(PayloadError, match="was changed"):
        sealer.unseal(changed(sealer.seal(PLAIN, "payload"), at), "payload")


def test_a_ciphertext_is_bound_to_its_place() -> None:
    sealed = Sealer("q", KEY).seal(PLAIN, "payload")
    with pytest.raises(PayloadError, match="another queue than p"):
        Sealer("p", KEY).unseal(sealed, "payload")
    with pytest.raises(PayloadError):
        Sealer("q", KEY).unseal(sealed, "result")
    other = str(sealed.content_type).replace("application/json", "text/plain")
    with pytest.raises(PayloadError):
        Sealer("q", KEY).unseal(sealed._replace(content_type=other), "payload")


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("application/vnd.lq.encrypted", bytes(40), "in a way that is not known"),
        (f'application/vnd.lq.encrypted; v=2; kid={KID}; type=""', bytes(40), "not known"),
        (f'application/vnd.lq.encrypted; v=1; kid={KID}; type=""', bytes(27), "too short"),
        (f'application/vnd.lq.encrypted; v=1; kid={KID}; type=""', bytes(28), "was changed"),
    ],
)
def test_garbage_is_refused(content_type: str, body: bytes, says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        Sealer("q", KEY).unseal(Encoded(body, content_type), "payload")


@pytest.mark.parametrize(
    "text",
    [
        KEY, KEY.upper(), base64.b64encode(RAW).decode(), base64.urlsafe_b64encode(RAW).decode(),
        base64.urlsafe_b64encode(RAW).decode().rstrip("="),
    ],
)  # fmt: skip
def test_keys_are_hex_or_base64(text: str) -> None:
    assert read_key(text) == RAW
    assert key_id(read_key(text)) == KID


@pytest.mark.parametrize("text", ["secret", "0f" * 31, "0f" * 33, "x" * 64, "é" * 32])
def test_a_key_that_is_none_is_not_shown(text: str) -> None:
    with pytest.raises(LqError, match="LQ_ENCRYPTION_KEY is not a key") as caught:
        read_key(text)
    assert text not in str(caught.value)


# A queue that encrypts


def encrypting(**options: Any) -> Queue[Card]:
    return Queue[Card]("q", secret=SECRET, encrypt=True, encryption_key=KEY, **options)


def sealed_call(body: bytes = PLAIN.body) -> Any:
    sealed = Sealer("q", KEY).seal(Encoded(body, "application/json"), "payload")
    return call(sealed.body, sealed.content_type)


def test_what_a_queue_sends_is_encrypted() -> None:
    queue = encrypting()
    body, told = queue.request({"card": "4111"}, {}, None)
    assert b"4111" not in body
    assert Sealer("q", KEY).unseal(Encoded(body, told["content_type"]), "payload") == PLAIN
    with pytest.raises(PayloadError, match=r"payload\.card: expected str, got int"):
        queue.request({"card": 4111}, {}, None)  # type: ignore[typeddict-item]


async def test_a_result_is_encrypted_too() -> None:
    queue = encrypting()
    queue.handler(echo)
    response = await queue.respond(sealed_call())
    assert b"4111" not in response.body
    result = Encoded(response.body, header(response, "content-type"))
    assert Sealer("q", KEY).unseal(result, "result") == PLAIN


def echo(job: Job[Card]) -> Card:
    return job.payload


async def test_what_fails_says_nothing_of_the_payload(caplog: pytest.LogCaptureFixture) -> None:
    queue = encrypting()

    @queue.handler
    def handle(card: Card) -> None:
        raise ValueError(card["card"])

    response = await queue.respond(sealed_call())
    assert (response.status, response.body) == (500, b"ValueError: the app's log says more")
    response = await queue.respond(sealed_call(b'{"card":4111}'))
    assert response.status == 422
    assert response.body == b"the payload does not fit; the app's log says where"
    assert "payload.card: expected str, got int" in caplog.text


async def test_what_a_handler_says_on_purpose_is_said() -> None:
    queue = encrypting()

    @queue.handler
    def handle(card: Card) -> None:
        raise Retry("the bank is closed", after="1h")

    assert (await queue.respond(sealed_call())).body == b"the bank is closed"


async def test_a_queue_that_encrypts_takes_nothing_else() -> None:
    queue = encrypting()
    queue.handler(echo)
    response = await queue.respond(call(PLAIN.body))
    assert (response.status, response.body) == (
        422,
        b"payload: is not encrypted, and here all are",
    )


async def test_a_queue_that_does_not_can_decrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue[Card]("q", secret=SECRET)
    queue.handler(echo)
    monkeypatch.delenv("LQ_ENCRYPTION_KEY", raising=False)
    response = await queue.respond(sealed_call())
    assert response.status == 500
    assert response.body.startswith(b"there is no key to encrypt with: set LQ_ENCRYPTION_KEY")
    monkeypatch.setenv("LQ_ENCRYPTION_KEY", f"{OLD},{KEY}")
    assert (await queue.respond(sealed_call())).status == 200
    assert json.loads((await queue.respond(call(PLAIN.body))).body) == {"card": "4111"}


def test_without_a_key_nothing_is_pushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LQ_ENCRYPTION_KEY", raising=False)
    queue = Queue[Card]("q", encrypt=True)
    with pytest.raises(SettingMissing, match="set LQ_ENCRYPTION_KEY, or give encryption_key="):
        queue.push_sync({"card": "4111"})
