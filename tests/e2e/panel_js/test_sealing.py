"""What an app encrypts, the browser reads: sealing.js in node, against lq's own sealing."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from lq.sdk.codec import Encoded
from lq.sdk.sealing import Sealer, key_id, read_key

from .site import STATIC

KEY: Final = bytes(range(1, 33))
HEX: Final = KEY.hex()
JSON: Final = "application/json"
DRIVER: Final = """
import { bytesOf, readable, readKey, unseal, Unreadable } from "./sealing.mjs";
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const { key, body, ...sealed } = JSON.parse(line);
  let answer;
  try {
    const { type, plain } = await unseal(readKey(key), { ...sealed, body: bytesOf(body) });
    answer = { type, text: readable(type, plain), plain: Buffer.from(plain).toString("base64") };
  } catch (error) {
    answer = error instanceof Unreadable ? { wrong: error.message } : { bug: error.stack };
  }
  console.log(JSON.stringify(answer));
}
"""

Read = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """Has node decrypt something with the panel's own script."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("sealing")
    shutil.copy(STATIC / "sealing.js", folder / "sealing.mjs")
    (folder / "driver.mjs").write_text(DRIVER)
    with subprocess.Popen(
        [node, "driver.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def one(
            sealed: Encoded, *, key: str = HEX, queue: str = "mail", purpose: str = "payload"
        ) -> dict[str, Any]:
            question = {
                **{"key": key, "queue": queue, "purpose": purpose},
                "contentType": sealed.content_type,
                "body": base64.b64encode(sealed.body).decode(),
            }
            asked.write(json.dumps(question) + "\n")
            asked.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer

        yield one
        asked.close()


def seal(
    body: bytes, kind: str | None = JSON, *, queue: str = "mail", purpose: str = "payload"
) -> Encoded:
    return Sealer(queue, HEX).seal(Encoded(body, kind), purpose)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{"to":["a@b.c"],"n":{}}', JSON, '{\n  "to": [\n    "a@b.c"\n  ],\n  "n": {}\n}'),
        (b"[ ]", "application/problem+json; charset=utf-8", "[]"),
        (b"4.20", JSON, "4.20"),
        (b"{not json", JSON, "{not json"),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        ("grüße\t\r\n✓ <b>".encode(), "text/plain; charset=utf-8", "grüße\t\r\n✓ <b>"),
        (b"", None, "(empty)"),
        (b"", JSON, "(empty)"),
        (b"plain", None, "plain"),
        (
            bytes(range(18)),
            "application/octet-stream",
            "00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................\n"
            "00000010  10 11                                            ..",
        ),
        (
            b"\xff\xfeA\x80",
            "text/plain",
            "00000000  ff fe 41 80                                      ..A.",
        ),
        (b"x", 'a/b; quoted="\\"q\\" \\\\ z"', "x"),
        (b"x", "a/ü; \u2028", "x"),
    ],
)
def test_reads_what_was_sealed(read: Read, body: bytes, kind: str | None, text: str) -> None:
    found = read(seal(body, kind))
    assert found == {
        **{"type": kind or "", "text": text},
        "plain": base64.b64encode(body).decode(),
    }


@pytest.mark.parametrize(
    "key",
    [
        *(HEX, HEX.upper(), f"  {HEX}\n"),
        *(base64.b64encode(KEY).decode(), base64.b64encode(KEY).decode().rstrip("=")),
        base64.urlsafe_b64encode(KEY).decode(),
    ],
)
def test_keys_in_all_their_forms(read: Read, key: str) -> None:
    assert read(seal(b"1"), key=key)["text"] == "1"


def test_keys_of_every_byte_in_base64url(read: Read) -> None:
    for _ in range(20):
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        sealed = Sealer("mail", key).seal(Encoded(b"1", JSON), "payload")
        assert read(sealed, key=key)["text"] == "1"


@pytest.mark.parametrize(
    "key",
    ["", "secret", HEX[:-1], HEX + "0", base64.b64encode(KEY[1:]).decode(), "é" * 43, "=" * 44],
)
def test_what_is_no_key_is_not_shown(read: Read, key: str) -> None:
    wrong = "not a key: expected 32 bytes, as 64 hex digits or as base64"
    assert read(seal(b"1"), key=key) == {"wrong": wrong}


def test_another_key_is_named(read: Read) -> None:
    other = secrets.token_hex(32)
    assert read(seal(b"1"), key=other) == {
        "wrong": f"this is another key: the payload was encrypted under kid {key_id(KEY)}, "
        f"this one is {key_id(read_key(other))}"
    }


def test_results_are_read_as_results(read: Read) -> None:
    sealed = seal(b'"done"', purpose="result")
    assert read(sealed, purpose="result")["text"] == '"done"'
    wrong = "the payload was changed, or encrypted for another queue than mail"
    assert read(sealed, purpose="payload") == {"wrong": wrong}


def test_of_another_queue_or_changed_it_is_not_read(read: Read) -> None:
    sealed = seal(b'{"a": 1}')
    wrong = "the payload was changed, or encrypted for another queue than {}"
    assert read(sealed, queue="mäil") == {"wrong": wrong.format("mäil")}
    for place in (0, 11, 12, len(sealed.body) - 1):
        body = bytearray(sealed.body)
        body[place] ^= 1
        changed = Encoded(bytes(body), sealed.content_type)
        assert read(changed) == {"wrong": wrong.format("mail")}
    kind = (sealed.content_type or "").replace(JSON, "text/plain")
    assert read(Encoded(sealed.body, kind)) == {"wrong": wrong.format("mail")}


@pytest.mark.parametrize("length", [0, 1, 12, 27])
def test_what_is_cut_off_is_too_short(read: Read, length: int) -> None:
    sealed = seal(b"")
    cut = Encoded(sealed.body[:length], sealed.content_type)
    assert read(cut) == {"wrong": "the payload is too short to be encrypted"}


@pytest.mark.parametrize(
    "kind",
    [
        *("", JSON, "application/vnd.lq.encrypted"),
        'application/vnd.lq.encrypted; v=2; kid=0123456789abcdef; type="x"',
        'application/vnd.lq.encrypted; v=1; kid=0123; type="x"',
        'application/vnd.lq.encrypted; v=1; kid=0123456789abcdef; type="x',
    ],
)
def test_other_formats_are_not_guessed(read: Read, kind: str) -> None:
    wrong = "the payload is encrypted in a way that this page does not know"
    assert read(Encoded(bytes(40), kind)) == {"wrong": wrong}


def test_a_content_type_is_read_as_the_sdk_reads_it(read: Read) -> None:
    sealed = seal(b"1")
    loose = (
        (sealed.content_type or "").upper().replace("; ", " ;  ").replace("APPLICATION/JSON", JSON)
    )
    assert Sealer("mail", HEX).unseal(Encoded(sealed.body, f" {loose} "), "payload").body == b"1"
    assert read(Encoded(sealed.body, f" {loose} "))["text"] == "1"


def test_json_is_not_changed_by_making_it_readable(read: Read) -> None:
    text = '{"n":12345678901234567890.10,"a":1,"a":2,"s":"{,: \\"[\\\\","e":[[],{}],"u":"\\u00e9"}'
    assert read(seal(text.encode()))["text"] == (
        '{\n  "n": 12345678901234567890.10,\n  "a": 1,\n  "a": 2,\n  "s": "{,: \\"[\\\\",\n'
        '  "e": [\n    [],\n    {}\n  ],\n  "u": "\\u00e9"\n}'
    )


def test_a_large_payload_is_read(read: Read) -> None:
    long = "\\\\x" * 300_000
    assert read(seal(f'["{long}"]'.encode()))["text"] == f'[\n  "{long}"\n]'
    deep = "[" * 900 + "]" * 900
    assert read(seal(deep.encode()))["text"].split() == ["["] * 899 + ["[]"] + ["]"] * 899
