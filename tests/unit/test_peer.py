"""Who is at the other end: credentials of a unix socket, and what proxies say."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from lq.daemon.api.peer import Proxies, credentials, group

PROXY, CLIENT, LIE = "10.0.0.1", "198.51.100.7", "203.0.113.9"
PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8")))


def headers(*lines: str) -> CIMultiDictProxy[str]:
    pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return CIMultiDictProxy(CIMultiDict(pairs))


@pytest.mark.skipif(sys.platform not in {"linux", "darwin"}, reason="asks the kernel its own way")
def test_the_kernel_says_who_is_on_a_unix_socket() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with closing(here), closing(there):
        assert credentials(here) == f"uid {os.getuid()}, pid {os.getpid()}"


def test_a_tcp_connection_has_no_credentials() -> None:
    with closing(socket.socket()) as connection:
        assert credentials(connection) == "unknown"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_whom_a_limit_holds(address: str, counted: str) -> None:
    assert group(address) == counted


@pytest.mark.parametrize(
    "lines",
    [
        (f"X-Forwarded-For: {LIE}",),
        (f"Forwarded: for={LIE}",),
        ("X-Forwarded-For: 10.0.0.1",),
        (),
    ],
)
def test_strangers_are_not_believed(lines: tuple[str, ...]) -> None:
    assert PROXIES.client(CLIENT, headers(*lines)) == CLIENT
    assert Proxies(()).client(PROXY, headers(*lines)) == PROXY


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ((f"X-Forwarded-For: {CLIENT}",), CLIENT),
        ((f"x-forwarded-for:  {CLIENT} ",), CLIENT),
        ((f"X-Forwarded-For: {LIE}, {CLIENT}",), CLIENT),
        ((f"X-Forwarded-For: {LIE}", f"X-Forwarded-For: {CLIENT}"), CLIENT),
        ((f"X-Forwarded-For: {CLIENT}, 10.9.9.9",), CLIENT),
        ((f"X-Forwarded-For: {LIE}, {CLIENT}, 10.1.1.1, fd00::1",), CLIENT),
        ((f"X-Forwarded-For: {CLIENT}:4711",), CLIENT),
        (("X-Forwarded-For: [2001:db8::7]:4711",), "2001:db8::7"),
        (("X-Forwarded-For: 2001:db8::7",), "2001:db8::7"),
        ((f"X-Forwarded-For: ::ffff:{CLIENT}",), CLIENT),
        (("X-Forwarded-For: 10.2.2.2, 10.3.3.3",), "10.2.2.2"),
        (("X-Forwarded-For: unknown",), PROXY),
        (("X-Forwarded-For: fe80::1%eth0",), PROXY),
        (("X-Forwarded-For: 2001:db8::7%x (admin) \x1b[31m", f"Forwarded: for={CLIENT}"), PROXY),
        (('Forwarded: for="[fe80::1%eth0]:80"',), PROXY),
        ((f"X-Forwarded-For: {CLIENT}, unknown, 10.3.3.3",), "10.3.3.3"),
        (("X-Forwarded-For: ",), PROXY),
        ((f"X-Forwarded-For: {CLIENT},",), PROXY),
        ((f"Forwarded: for={CLIENT}",), CLIENT),
        ((f"Forwarded: For={CLIENT};proto=https;by=10.0.0.1",), CLIENT),
        ((f'Forwarded: by=10.0.0.1; for="{CLIENT}:80" ;proto=http',), CLIENT),
        (('Forwarded: for="[2001:db8::7]:4711"',), "2001:db8::7"),
        ((f"Forwarded: for={LIE}, for={CLIENT}",), CLIENT),
        ((f'Forwarded: for="{LIE}, for={CLIENT}',), CLIENT),
        ((f"Forwarded: for={CLIENT}, for=10.4.4.4",), CLIENT),
        (("Forwarded: for=_hidden",), PROXY),
        (("Forwarded: proto=https",), PROXY),
        ((f"X-Forwarded-For: {CLIENT}", f"Forwarded: for={CLIENT}"), CLIENT),
        ((f"X-Forwarded-For: {CLIENT}", f"Forwarded: for={LIE}"), PROXY),
        ((f"X-Real-IP: {LIE}", f"X-Client-IP: {LIE}"), PROXY),
        ((), PROXY),
    ],
)
def test_a_proxy_is_believed_and_nobody_before_it(lines: tuple[str, ...], client: str) -> None:
    assert PROXIES.client(PROXY, headers(*lines)) == client


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="latin-1"), max_size=40)))
def test_whatever_a_client_writes_before_it_the_proxys_entry_decides(lies: list[str]) -> None:
    for name, entry in (("X-Forwarded-For", CLIENT), ("Forwarded", f"for={CLIENT}")):
        line = f"{name}: {', '.join([*lies, entry])}"
        assert PROXIES.client(PROXY, headers(line)) == CLIENT


def test_an_ipv4_proxy_on_a_socket_for_both_is_the_same_proxy() -> None:
    assert PROXIES.client(f"::ffff:{PROXY}", headers(f"X-Forwarded-For: {CLIENT}")) == CLIENT


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", PROXY, f"::ffff:{PROXY}"]
)
def test_who_may_come_without_tls(address: str) -> None:
    assert PROXIES.may_come_in_the_clear(address)


@pytest.mark.parametrize("address", [CLIENT, "192.168.1.7", "::", "fe80::1%eth0", "", "nonsense"])
def test_who_may_not(address: str) -> None:
    assert not PROXIES.may_come_in_the_clear(address)
    assert not Proxies(()).may_come_in_the_clear(address)


def test_a_proxy_that_is_not_listed_is_a_stranger() -> None:
    assert not Proxies(()).may_come_in_the_clear(PROXY)
