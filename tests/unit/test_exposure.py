"""Where lq may listen, and which certificates it takes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from lq import exposure
from lq.config import Config, Tls
from lq.errors import ConfigError
from tests.support.certificates import Authority

ORIGIN = MappingProxyType({"listen": "lq.toml:1", "tls.cert": "lq.toml:3", "tls.key": "lq.toml:4"})


def configured(folder: Path, **settings: Any) -> Config:
    return Config(data_dir=folder, socket=folder / "socket", origin=ORIGIN, **settings)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:7420", "[::1]:0", "localhost:0",
                                    "[::ffff:127.0.0.1]:0"])  # fmt: skip
def test_this_machine_may_be_served_in_the_clear(tmp_path: Path, listen: str) -> None:
    config = configured(tmp_path, listen=listen)
    exposure.check(config)
    assert not exposure.is_exposed(config)


@pytest.mark.parametrize("listen", ["0.0.0.0:7420", "[::]:7420", "192.0.2.1:80", "10.0.0.1:7420",
                                    "[fe80::1]:80", "[2001:db8::1]:80", "[::ffff:192.0.2.1]:80",
                                    "[::ffff:0.0.0.0]:1"])  # fmt: skip
def test_other_machines_may_not(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        exposure.check(configured(tmp_path, listen=listen))
    assert refusal.value.exit_code == 78
    assert refusal.value.message.startswith(f"lq.toml:1: listen: {listen} is open to other")
    assert refusal.value.hint is not None
    assert "[tls]" in refusal.value.hint
    assert "trusted_proxy" in refusal.value.hint


def test_they_may_with_a_certificate_or_a_proxy(tmp_path: Path) -> None:
    tls = Tls(cert=tmp_path / "cert", key=tmp_path / "key")
    exposure.check(configured(tmp_path, listen="0.0.0.0:1", tls=tls))
    proxy = (ip_network("10.0.0.1"),)
    exposure.check(configured(tmp_path, listen="0.0.0.0:1", trusted_proxy=proxy))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def context(folder: Path, cert: Path, key: Path) -> ssl.SSLContext | None:
    return exposure.server_context(configured(folder, tls=Tls(cert=cert, key=key)))


def test_without_files_there_is_no_tls(tmp_path: Path) -> None:
    assert exposure.server_context(configured(tmp_path)) is None


def test_a_pair_that_fits_serves_tls_12_and_newer(tmp_path: Path, authority: Authority) -> None:
    made = context(tmp_path, *authority.issue("a"))
    assert made is not None
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_group_may_read_the_key(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.issue("a")
    key.chmod(0o640)
    assert context(tmp_path, cert, key)


def missing(cert: Path, _key: Path) -> None:
    cert.unlink()


def missing_key(_cert: Path, key: Path) -> None:
    key.unlink()


def a_folder(cert: Path, _key: Path) -> None:
    cert.unlink()
    cert.mkdir()


def no_certificate(cert: Path, _key: Path) -> None:
    cert.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")


def empty(cert: Path, _key: Path) -> None:
    cert.write_bytes(b"")


def binary(cert: Path, _key: Path) -> None:
    cert.write_bytes(b"\x30\x82\xff\xfe")


def no_key(_cert: Path, key: Path) -> None:
    key.write_text("nonsense")


def public_key(_cert: Path, key: Path) -> None:
    key.chmod(0o644)


def writable_key(_cert: Path, key: Path) -> None:
    key.chmod(0o620)


def another_key(_cert: Path, key: Path) -> None:
    key.write_bytes(Authority(key.parent).issue("other")[1].read_bytes())


def locked_key(_cert: Path, key: Path) -> None:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing, "lq.toml:3: [tls] cert: {cert} cannot be read: No such file"),
        (missing_key, "lq.toml:4: [tls] key: {key} cannot be read: No such file"),
        (a_folder, "lq.toml:3: [tls] cert: {cert} cannot be read: Is a directory"),
        (no_certificate, "lq.toml:3: [tls] cert: {cert} is not a certificate in PEM"),
        (empty, "lq.toml:3: [tls] cert: {cert} is not a certificate in PEM"),
        (binary, "lq.toml:3: [tls] cert: {cert} is not a certificate in PEM"),
        (no_key, "lq.toml:4: [tls] key: {key} is not a key in PEM"),
        (public_key, "lq.toml:4: [tls] key: {key} is open to others (mode 0644)"),
        (writable_key, "lq.toml:4: [tls] key: {key} is open to others (mode 0620)"),
        (another_key, "lq.toml:4: [tls] key: {key} does not belong to the certificate"),
        (locked_key, "lq.toml:4: [tls] key: {key} is locked with a passphrase"),
    ],
)
def test_files_that_cannot_be_used_are_named_with_their_line(
    tmp_path: Path, authority: Authority, spoil: Callable[[Path, Path], None], says: str
) -> None:
    cert, key = authority.issue("a")
    spoil(cert, key)
    with pytest.raises(ConfigError) as refusal:
        context(tmp_path, cert, key)
    assert refusal.value.message.startswith(says.format(cert=cert, key=key))
    assert "\n" not in refusal.value.message
