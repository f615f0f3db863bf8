"""https served by lq itself: what is spoken, who is counted, and certificates renewed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from lq.config import Config, Limits, Tls
from lq.daemon.listen import HANDSHAKE_S
from lq.daemon.main import daemon
from lq.errors import Conflict
from tests.support.certificates import Authority

GIVE_UP_S = 10
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> Config:
    cert, key = authority.issue("first")
    data = tmp_path / "data"
    tls = Tls(cert=cert, key=key)
    return Config(data_dir=data, socket=data / "socket", listen="127.0.0.1:0", tls=tls)


class Line:
    """One https connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self) -> int:
        """The status of an answer."""
        self.writer.write(REQUEST)
        async with asyncio.timeout(GIVE_UP_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            await self._reader.readexactly(
                int(head.lower().split(b"content-length: ")[1].split()[0])
            )
        return int(head.split(b" ")[1])

    @property
    def tls(self) -> ssl.SSLObject:
        found = self.writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    @property
    def certificate(self) -> bytes | None:
        return self.tls.getpeercert(binary_form=True)


class Place(NamedTuple):
    """Where https is served, and who vouches for it."""

    port: int
    authority: Authority

    @asynccontextmanager
    async def line(
        self, name: str | None = "localhost", version: ssl.TLSVersion | None = None
    ) -> AsyncIterator[Line]:
        """Shape: without `name` none is asked for, as by somebody who knows an address alone."""
        trust = ssl.create_default_context(cafile=str(self.authority.file))
        trust.check_hostname = name is not None
        if version is not None:
            trust.minimum_version = trust.maximum_version = version
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trust, server_hostname=name or ""
        )
        yield Line(reader, writer)
        writer.close()


@asynccontextmanager
async def serving(config: Config, authority: Authority) -> AsyncIterator[Place]:
    async with daemon(config) as running:
        yield Place(running.port, authority)


async def test_a_certificate_is_shown_and_requests_are_answered(
    config: Config, authority: Authority
) -> None:
    async with serving(config, authority) as place, place.line() as line:
        assert [await line.ask() for _ in range(3)] == [200, 200, 200]
        assert line.tls.version() == "TLSv1.3"


async def test_a_client_that_offers_http2_gets_what_there_is(
    config: Config, authority: Authority
) -> None:
    trust = ssl.create_default_context(cafile=str(authority.file))
    trust.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(config, authority) as place:
        streams = await asyncio.open_connection(
            "127.0.0.1", place.port, ssl=trust, server_hostname="localhost"
        )
        line = Line(*streams)
        assert line.tls.selected_alpn_protocol() == "http/1.1"
        assert await line.ask() == 200
        line.writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_12_is_the_oldest(
    config: Config, authority: Authority, version: ssl.TLSVersion
) -> None:
    async with serving(config, authority) as place, place.line(version=version) as line:
        assert await line.ask() == 200


async def test_tls_11_is_refused(config: Config, authority: Authority) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(authority.file)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(config, authority) as place:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", place.port, ssl=old, server_hostname="localhost"
            )


async def test_plain_http_is_not_answered(config: Config, authority: Authority) -> None:
    async with serving(config, authority) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(REQUEST)
        async with asyncio.timeout(GIVE_UP_S):
            assert b"HTTP" not in await reader.read()
        writer.close()
        async with place.line() as line:
            assert await line.ask() == 200


async def test_unfinished_handshakes_count_and_do_not_hold_up_a_stop(
    config: Config, authority: Authority
) -> None:
    limited = replace(config, limits=Limits(connections_per_address=2))
    async with serving(limited, authority) as place:
        began = time.monotonic()
        silent = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(2)]
        with closing(silent[0]), closing(silent[1]):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with place.line():
                    pass
            silent[0].close()
            async with place.line() as line:
                assert await line.ask() == 200
    assert time.monotonic() - began < HANDSHAKE_S


async def test_an_idle_connection_makes_room_for_a_handshake(
    config: Config, authority: Authority
) -> None:
    limited = replace(config, limits=Limits(connections_per_address=1))
    async with serving(limited, authority) as place, place.line() as idle:
        assert await idle.ask() == 200
        async with place.line() as line:
            assert await line.ask() == 200


async def test_a_reload_renews_the_certificate_and_drops_nobody(
    config: Config, authority: Authority
) -> None:
    cert, key = authority.issue("renewed")
    files = config.tls.cert, config.tls.key
    renewed = replace(config, tls=Tls(cert=cert, key=key))
    read = [renewed]
    async with daemon(config, load_config=lambda: read[0]) as running:
        place = Place(running.port, authority)
        async with place.line() as old:
            assert await old.ask() == 200
            assert not (await running.engine.reload(dry=True)).restart
            async with place.line() as unchanged:
                assert unchanged.certificate == old.certificate
            assert not (await running.engine.reload(dry=False)).restart
            async with place.line() as new, place.line(None) as nameless:
                assert new.certificate == nameless.certificate != old.certificate
                assert await new.ask() == await nameless.ask() == await old.ask() == 200

            key.write_text("nonsense")
            with pytest.raises(Conflict, match="is not a key in PEM"):
                await running.engine.reload(dry=False)
            async with place.line() as still:
                assert still.certificate == new.certificate

            read[0] = replace(config, tls=Tls())
            assert (await running.engine.reload(dry=False)).restart == ("tls.cert", "tls.key")
            read[0] = config
            assert files == (config.tls.cert, config.tls.key)
            await running.engine.reload(dry=False)
            async with place.line() as back:
                assert back.certificate == old.certificate
                assert await old.ask() == 200


async def test_a_daemon_without_tls_gets_it_by_a_restart(config: Config) -> None:
    plain = replace(config, tls=Tls())
    async with daemon(plain, load_config=lambda: config) as running:
        assert (await running.engine.reload(dry=False)).restart == ("tls.cert", "tls.key")
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
