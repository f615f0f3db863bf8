"""TLS to targets is always verified: D15 and D16 in the catalogue of faults, with real servers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lq.daemon.targets.connect import tls_context
from lq.model import OutcomeKind
from tests.support.calls import PATIENT_MS, failed, run_of
from tests.support.handler import Wire, listening
from tests.support.out import LOOPBACK, answers_ok, way_out

NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY, STRANGER = trustme.CA(), trustme.CA()


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return path


def server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def good() -> ssl.SSLContext:
    return server(AUTHORITY.issue_cert("hook.test", "127.0.0.1", "::1"))


def expired() -> ssl.SSLContext:
    return server(AUTHORITY.issue_cert("hook.test", not_after=NOW - datetime.timedelta(days=1)))


def of_another_name() -> ssl.SSLContext:
    return server(AUTHORITY.issue_cert("other.test"))


def of_a_stranger() -> ssl.SSLContext:
    return server(STRANGER.issue_cert("hook.test"))


def self_signed() -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.test")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    blob = trustme.Blob(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with blob.tempfile() as path:
        context.load_cert_chain(path)
    return context


FAULTS: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "expired": (expired, "certificate has expired"),
    "self-signed": (self_signed, "self-signed certificate"),
    "of another name": (of_another_name, "Hostname mismatch, certificate is not valid for"),
    "of a stranger": (of_a_stranger, "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_server_that_is_not_who_it_should_be(
    ca_file: Path, fault: str, method: str
) -> None:
    """No request is sent; the error says what is wrong; a HEAD says the same."""
    make, reason = FAULTS[fault]
    seen: list[bytes] = []

    async def serve(wire: Wire) -> None:
        seen.append(await wire.reader.readuntil(b"\r\n\r\n"))

    async with listening(serve, tls=make()) as port:
        pins = [f"hook.test:{port}:127.0.0.1"]
        async with way_out(LOOPBACK, pins=pins, tls=tls_context(ca_file)) as target:
            url = f"https://hook.test:{port}/"
            outcome = await target.deliver(run_of(port, target=url, method=method))
            failed(outcome, "tls_error: ")
            assert reason in str(outcome.error)
            head = await target.head(url, {}, PATIENT_MS)
    assert head.error is not None
    assert head.error.startswith("tls_error: ")
    assert reason in head.error
    assert seen == []


def that_asks_for_a_certificate(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = good()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    return context


def of_old() -> ssl.SSLContext:
    context = good()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


HANDSHAKES: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    # The alert comes in place of the answer: the client's side of the handshake was over.
    "demanding, TLS 1.3": (
        lambda: that_asks_for_a_certificate(ssl.TLSVersion.TLSv1_3),
        "tlsv13 alert certificate required",
    ),
    "demanding, TLS 1.2": (
        lambda: that_asks_for_a_certificate(ssl.TLSVersion.TLSv1_2),
        "handshake failure",
    ),
    "TLS 1.1": (of_old, "protocol version"),
}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("fault", HANDSHAKES)
async def test_a_server_that_ends_the_handshake_says_why(
    ca_file: Path, fault: str, method: str
) -> None:
    """It closes gently: asyncio's servers do not, and what they said last may be lost."""
    make, reason = HANDSHAKES[fault]
    context = make()

    def serve(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with plain:
            with contextlib.suppress(ssl.SSLError):
                context.wrap_socket(plain.dup(), server_side=True)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        served = asyncio.create_task(asyncio.to_thread(serve, listener))
        async with way_out(LOOPBACK, tls=tls_context(ca_file)) as target:
            run = run_of(port, target=f"https://127.0.0.1:{port}/", method=method)
            outcome = await target.deliver(run)
        await served
    failed(outcome, "tls_error: ")
    assert reason in str(outcome.error)


async def test_a_server_that_closes_in_the_handshake(ca_file: Path) -> None:
    async def serve(wire: Wire) -> None:
        await wire.reader.read(100)

    async with listening(serve) as port, way_out(LOOPBACK, tls=tls_context(ca_file)) as target:
        run = run_of(port, target=f"https://127.0.0.1:{port}/")
        failed(await target.deliver(run), "tls_error: ")


@pytest.mark.parametrize("host", ["hook.test", "127.0.0.1"])
async def test_the_authorities_of_ca_file_are_the_only_ones(ca_file: Path, host: str) -> None:
    async with listening(answers_ok, tls=good()) as port:
        run = run_of(port, target=f"https://{host}:{port}/")
        pins = [f"hook.test:{port}:127.0.0.1"]
        async with way_out(LOOPBACK, pins=pins, tls=tls_context(ca_file)) as target:
            assert (await target.deliver(run)).kind is OutcomeKind.SUCCEEDED
        async with way_out(LOOPBACK, pins=pins) as target:
            failed(await target.deliver(run), "tls_error: unable to get local issuer certificate")
    assert tls_context(ca_file).cert_store_stats()["x509_ca"] == 1


async def test_the_name_is_told_to_the_server_and_verified_whatever_the_address(
    ca_file: Path,
) -> None:
    told: list[str | None] = []
    context = good()
    context.sni_callback = lambda _, name, __: told.append(name)
    async with listening(answers_ok, tls=context) as port:
        pins = [f"hook.test:{port}:127.0.0.1", f"evil.test:{port}:127.0.0.1"]
        async with way_out(LOOPBACK, pins=pins, tls=tls_context(ca_file)) as target:
            named = run_of(port, target=f"https://hook.test:{port}/")
            assert (await target.deliver(named)).status == 200
            other = run_of(port, target=f"https://evil.test:{port}/")
            failed(await target.deliver(other), "tls_error: Hostname mismatch")
    assert told == ["hook.test", "evil.test"]


async def test_a_name_that_only_the_subject_has_does_not_count(ca_file: Path) -> None:
    """No authority checks what a subject's common name says."""
    context = server(AUTHORITY.issue_cert(common_name="hook.test"))
    async with listening(answers_ok, tls=context) as port:
        pins = [f"hook.test:{port}:127.0.0.1"]
        async with way_out(LOOPBACK, pins=pins, tls=tls_context(ca_file)) as target:
            outcome = await target.deliver(run_of(port, target=f"https://hook.test:{port}/"))
    failed(outcome, "tls_error: Hostname mismatch")


@pytest.mark.parametrize("system", [True, False])
async def test_the_keys_of_connections_are_written_nowhere(
    ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: bool
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls_context(None if system else ca_file)
    assert not (tmp_path / "keys").exists()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00" * 100]
)
async def test_a_server_that_speaks_no_tls(ca_file: Path, said: bytes) -> None:
    async def serve(wire: Wire) -> None:
        await wire.reader.read(100)
        await wire.send(said)
        await wire.gone()

    async with listening(serve) as port, way_out(LOOPBACK, tls=tls_context(ca_file)) as target:
        run = run_of(port, target=f"https://127.0.0.1:{port}/")
        failed(await target.deliver(run), "tls_error: ")


@pytest.mark.parametrize("text", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_ca_file_that_is_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    reason = "cannot be read: No such file" if text is None else r"holds no certificate \(PEM\)"
    with pytest.raises(ValueError, match=rf"ca\.pem {reason}"):
        tls_context(path)
