"""The key that secrets are encrypted with on disk: where it may be, and what it may look like."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lq.config import Config, load
from lq.daemon.cipher import Seal, read_seal
from lq.errors import ConfigError

KEY = bytes(range(1, 33))
ENVIRON = {"HOME": "/home/ada"}


def configured(folder: Path, text: str) -> Config:
    (folder / "lq.toml").write_text(f"[secrets]\n{text}\n")
    return load(str(folder / "lq.toml"), ENVIRON)


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Config:
    path = folder / "key"
    path.touch()
    path.write_bytes(content)
    path.chmod(mode)
    return configured(folder, 'key_file = "key"')


def refusal(config: Config, environ: Mapping[str, str] = ENVIRON) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        read_seal(config, environ)
    assert refused.value.exit_code == 78
    assert refused.value.hint
    assert ":2: [secrets] " in refused.value.message
    assert KEY.hex() not in refused.value.message
    return refused.value


def test_without_a_key_nothing_is_encrypted(tmp_path: Path) -> None:
    assert read_seal(load(None, ENVIRON), ENVIRON) is None
    assert read_seal(configured(tmp_path, 'key_file = ""\ncredential = ""'), ENVIRON) is None


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (KEY, KEY),
        (b"\n" * 32, b"\n" * 32),
        (KEY, KEY.hex().encode()),
        (KEY, KEY.hex().upper().encode() + b"\n"),
        (KEY, base64.b64encode(KEY)),
        (KEY, base64.b64encode(KEY) + b"\r\n"),
        (b"\xfb\xff" * 16, base64.urlsafe_b64encode(b"\xfb\xff" * 16)),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_is_raw_hex_or_base64(tmp_path: Path, key: bytes, written: bytes, mode: int) -> None:
    seal = read_seal(key_file(tmp_path, written, mode), ENVIRON)
    assert seal is not None
    assert Seal(key, "here").open(seal.close(b"plain")) == b"plain"


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"\n",
        KEY[:31],
        KEY + b"\n",
        KEY.hex().encode()[:-1],
        KEY.hex().encode() + b"00",
        b"0x" + KEY.hex().encode(),
        base64.b64encode(KEY[:31]),
        base64.b64encode(KEY)[:-1],
        b"\xff" * 44,
        b"a passphrase that somebody has made up",
        b"0" * 100_000,
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, written: bytes) -> None:
    refused = refusal(key_file(tmp_path, written))
    assert "expected 32 bytes, raw or written in hex or base64" in refused.message
    assert "openssl rand" in (refused.hint or "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    assert "open to other users" in refusal(key_file(tmp_path, KEY, mode)).message


def test_a_key_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path, 'key_file = "none"')
    assert f"cannot read {tmp_path / 'none'}: No such file" in refusal(config).message
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "Is a directory" in refusal(configured(tmp_path, 'key_file = "folder"')).message


def test_the_key_comes_from_one_place(tmp_path: Path) -> None:
    config = configured(tmp_path, 'credential = "lq"\nkey_file = "key"')
    assert "is set beside key_file" in refusal(config).message


def test_a_credential_is_where_systemd_puts_it(tmp_path: Path) -> None:
    config = configured(tmp_path, 'credential = "lq-key"')
    handed = {**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert "there is no $CREDENTIALS_DIRECTORY" in refusal(config).message
    assert "cannot read" in refusal(config, handed).message
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "lq-key").write_bytes(KEY)
    (tmp_path / "credentials" / "lq-key").chmod(0o440)  # with an ACL for the service alone
    seal = read_seal(config, handed)
    assert seal is not None
    assert seal.open(Seal(KEY, "here").close(b"plain")) == b"plain"


@pytest.mark.parametrize("name", ['"../key"', '"/etc/key"', '"."', '".."', '"a\\nb"', "7"])
def test_a_credential_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="the name of a systemd credential"):
        configured(tmp_path, f"credential = {name}")


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    refused = refusal(key_file(tmp_path, KEY))
    assert "needs the package cryptography" in refused.message
    assert refused.hint == "pip install 'lq-daemon[encryption]'"
