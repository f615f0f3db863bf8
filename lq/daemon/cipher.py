"""Sealing what is kept on disk: AES-256-GCM under a key that is kept elsewhere.

Owns: where the key comes from (a file, a systemd credential), what it looks like, and the form
of what is sealed. Never writes a key, and shows neither key nor plain text in an error.

Invariant: what was sealed under one key opens under that key alone, whole, or not at all.
Source: NIST SP 800-38D; a random 96-bit nonce for each of the few times that lq ever seals.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lq.config import Config
from lq.errors import ConfigError

_MARK: Final = "lq-sealed-1:"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_MOST_KEY_FILE_BYTES: Final = 4096
_FORM: Final = "expected 32 bytes, raw or written in hex or base64"
_MAKE: Final = "make one with: openssl rand -hex 32 > FILE; chmod 600 FILE"


class Seal:
    """Seals and opens under one key; `origin` is how people name where the key is from."""

    def __init__(self, key: bytes, origin: str) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError(
                f"{origin}: encryption needs the package cryptography, which is not installed",
                hint="pip install 'lq-daemon[encryption]'",
            ) from None
        self._cipher = AESGCM(key)
        self._origin = origin

    def close(self, plain: bytes) -> str:
        """Seal. Shape: one line of ASCII."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, plain, _MARK.encode())
        return _MARK + base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str) -> bytes:
        """What was sealed. Raises: ConfigError when it was sealed under another key, or damaged."""
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b64decode(sealed.removeprefix(_MARK), validate=True)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _MARK.encode())
        except (InvalidTag, ValueError):
            raise ConfigError(
                f"{self._origin}: this key does not open the signing secret, which was encrypted"
                " under another one or is damaged",
                hint="configure the key it was encrypted under; nothing was changed",
            ) from None


def is_sealed(text: str) -> bool:
    """Whether a text is what `close` makes."""
    return text.startswith(_MARK)


def read_seal(config: Config, environ: Mapping[str, str]) -> Seal | None:
    """The seal that `[secrets]` asks for, if it does. Raises: ConfigError."""
    key_file, credential = config.secrets.key_file, config.secrets.credential
    if key_file is not None and credential is not None:
        raise ConfigError(
            f"{_origin(config, 'credential')}: is set beside key_file",
            hint="the key comes from one place: take one of them away",
        )
    if key_file is not None:
        origin = _origin(config, "key_file")
        return Seal(_key(_private(key_file, origin), origin), origin)
    if credential is not None:
        origin = _origin(config, "credential")
        return Seal(_key(_credential(credential, environ, origin), origin), origin)
    return None


def _origin(config: Config, key: str) -> str:
    return f"{config.origin.get(f'secrets.{key}', 'lq.toml')}: [secrets] {key}"


def _private(path: Path, origin: str) -> Path:
    try:
        loose = path.stat().st_mode & 0o077
    except OSError as error:
        raise ConfigError(f"{origin}: cannot read {path}: {error.strerror}", hint=_MAKE) from error
    if loose:
        raise ConfigError(
            f"{origin}: {path} is open to other users",
            hint=f"chmod 600 {path}; if others may have read it, make another key",
        )
    return path


def _credential(name: str, environ: Mapping[str, str], origin: str) -> Path:
    """Where systemd puts a credential. Whom it lets read that is systemd's, by ACLs."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"{origin}: there is no $CREDENTIALS_DIRECTORY, so systemd has handed over nothing",
            hint=f"give the unit LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}",
        )
    return Path(folder, name)


def _key(path: Path, origin: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_KEY_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{origin}: cannot read {path}: {error.strerror}", hint=_MAKE) from error
    if len(data) == _KEY_BYTES:
        return data
    text = data.strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text.decode())
    try:
        key = base64.b64decode(text, altchars=b"-_" if b"-" in text or b"_" in text else None,
                               validate=True)  # fmt: skip
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{origin}: {path} is no key: {_FORM}", hint=_MAKE)
    return key
