"""Targets: one spelling for an address, and which of them lq may call."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lq.daemon.egress import Egress, Target, is_public, parse_pins, parse_target
from lq.errors import TargetNotAllowed, ValidationError

CLOSED = Egress("public", [])


def refusal(text: str) -> str:
    with pytest.raises(ValidationError) as refused:
        parse_target(text)
    (issue,) = refused.value.issues
    assert issue.path == "target"
    assert issue.message.isprintable()
    return issue.message


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://example.com", Target("https://example.com/", "https", "example.com", 443)),
        ("https://example.com/", Target("https://example.com/", "https", "example.com", 443)),
        ("HTTPS://Example.COM:443/A", Target("https://example.com/A", "https", "example.com", 443)),
        ("https://h:8443?q=1", Target("https://h:8443/?q=1", "https", "h", 8443)),
        ("http://127.0.0.1:80/x", Target("http://127.0.0.1/x", "http", "127.0.0.1", 80)),
        ("http://127.0.0.1:443/", Target("http://127.0.0.1:443/", "http", "127.0.0.1", 443)),
        ("http://h:65535/", Target("http://h:65535/", "http", "h", 65_535)),
        ("http://h:1/", Target("http://h:1/", "http", "h", 1)),
        ("http://[::1]:3000/", Target("http://[::1]:3000/", "http", "::1", 3000)),
        ("https://[2A00:0:0::1]", Target("https://[2a00::1]/", "https", "2a00::1", 443)),
        ("http://[::ffff:7f00:1]/", Target("http://127.0.0.1/", "http", "127.0.0.1", 80)),
        ("http://[::FFFF:127.0.0.1]/", Target("http://127.0.0.1/", "http", "127.0.0.1", 80)),
        ("http://a_b-1:8080/", Target("http://a_b-1:8080/", "http", "a_b-1", 8080)),
        ("https://1.2.3.com/", Target("https://1.2.3.com/", "https", "1.2.3.com", 443)),
        (
            "https://bücher.de/",
            Target("https://xn--bcher-kva.de/", "https", "xn--bcher-kva.de", 443),
        ),
        (
            "https://BÜCHER.De",
            Target("https://xn--bcher-kva.de/", "https", "xn--bcher-kva.de", 443),
        ),
        ("https://例え.jp/", Target("https://xn--r8jz45g.jp/", "https", "xn--r8jz45g.jp", 443)),
    ],
)
def test_target(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "tail",
    [
        *["/a/../b/./c//d", "/%7e%2F%zz%", "/?", "/?a=b&a=c&&", "/;p=1?x=/y?z", "/a'b\"<>^`{|}~"],
        *["/?url=http://user@evil.example:22/%23", "/[x]@y:z", "/!$&()*+,;=:@"],
    ],
)
def test_path_and_query_stay_byte_for_byte(tail: str) -> None:
    assert parse_target(f"https://h{tail}").url == f"https://h{tail}"


def test_only_what_is_not_ascii_is_encoded_in_a_path() -> None:
    assert parse_target("https://h/zażółć%20x?ż=🔑").url == (
        "https://h/za%C5%BC%C3%B3%C5%82%C4%87%20x?%C5%BC=%F0%9F%94%91"
    )


REFUSED = {
    "starts with https:// or http://": [
        *["", "example.com", "//example.com/", "/path", "https:example.com", "https:/h/"],
        *["ftp://h/", "file:///etc/passwd", "javascript:alert(1)", "ws://h/", "unix:///run/x"],
        *["gopher://h:70/", "data:,x", "scriptlet:nightly", "httpss://h/", "http+unix://h/"],
        *["\u017fhttps://h/", "http\u017f://h/", "ｈttps://h/"],
    ],
    "names a host": [
        *["https://", "https:///", "https:///path", "https://:443/", "https://?q", "http://:0"],
    ],
    "no user or password": [
        *["https://user@h/", "https://user:pass@h/", "https://@h/", "https://:@h/"],
        *["https://h@127.0.0.1/", "http://127.0.0.1:80@evil.example/", "https://a%40b@h/"],
    ],
    "no fragment": ["https://h/#x", "https://h#", "https://h/?q#", "#"],
    "no spaces, control characters or backslashes": [
        *[" https://h/", "https://h/ ", "https://h/a b", "https://h /", "https://h/\t"],
        *["https://h/\r\nHost: evil", "https://h/\x00", "https://h/\x7f", "https://h/\x85"],
        *["https://h\\@evil.example/", "https:\\\\h\\", "https://h/\\..\\", "https://h/\u2028"],
        *["https://h/\u00a0", "https://h/\u3000", "https://h/\ud800", "https://h/\x1b[31m"],
    ],
    "port is a number from 1 to 65535": [
        *[
            "https://h:/",
            "https://h:0/",
            "https://h:65536/",
            "https://h:99999999/",
            "https://h:+80",
        ],
        *["https://h:080/", "https://h:-1/", "https://h:80a/", "https://h:８０/", "https://h:8٠/"],
        *["https://[::1]:/", "https://h:0x50/", "https://h:1e3/"],
    ],
    "not HTTP": [
        *["https://h:22/", "https://h:25/", "http://127.0.0.1:6379/", "https://[::1]:5432/"],
    ],
    "four decimal numbers": [
        *["http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/"],
        *["http://0/", "http://0x/", "http://127.0.1/", "http://127.0.0.01/", "http://a.1/"],
        *["http://127.0.0.0x1/", "http://0X7F.1/", "http://256.0.0.1/", "http://127.0.0.1.1/"],
        *["http://00000000177.0.0.1/", "http://1.2.3.08/", "http://127.0.0.1.0xff/", "http://-.1/"],
    ],
    "no dot at its end": [
        *["https://h./", "http://127.0.0.1./", "https://example.com.:443/", "https://./"],
        *["https://h../"],
    ],
    "no percent-encoding and no zone id": [
        *["http://%31%32%37.0.0.1/", "https://example%2ecom/", "http://[fe80::1%25lo]/"],
        *["http://[::1%lo]/", "https://h%/", "http://127.0.0.1%2f.evil.example/"],
    ],
    "no IPv6 address": [
        *["http://[]/", "http://[127.0.0.1]/", "http://[::1::]/", "http://[v1.x]/", "http://[:]/"],
        *["http://[h]/", "http://[::12345]/", "http://[::ffff:127.0.0.01]/", "http://[::１]/"],
    ],
    "in brackets": ["http://::1/", "http://2a00::1:80/", "http://h:80:80/"],
    "not a port": [
        *["http://[::1]x/", "http://[::1]3000/", "http://[::1/", "http://a[b]/", "http://]/"],
    ],
    "no valid host name": [
        *["http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://127．0．0．1/", "http://127｡0｡0｡1/"],
        *["http://１２７.0.0.1/", "https://ｅxample.com/", "https://\u212aelvin.example/"],
        *["https://İ.example/", "https://exam\u200bple.com/", "https://\u202eexample.com/"],
        *["https://a..b/", "https://.h/", "https://-h/", "https://h-/", "https://a.-b.c/"],
        *["https://a,b/", "https://a!b/", "https://a*b/", "https://a'b/", "https://a;b/"],
        *[
            "https://a=b/",
            "https://<h>/",
            "https://{h}/",
            "https://☃.example/",
            "https://a\u0301.b/",
        ],
        *[f"https://{'a' * 64}/", f"https://{'a.' * 127}a/", f"https://{'ä' * 64}/"],
    ],
    "at most 2048 characters": [
        *["https://h/" + "a" * 2039, "https://h/" + "ż" * 400, "a" * 10**6],
    ],
}


@pytest.mark.parametrize("rule", REFUSED)
def test_no_target_and_the_rule_it_breaks(rule: str) -> None:
    messages = {text: refusal(text) for text in REFUSED[rule]}
    assert {text: said for text, said in messages.items() if rule not in said} == {}


def test_2048_characters_are_not_too_many() -> None:
    text = "https://h/" + "a" * 2038
    assert parse_target(text).url == text


@given(
    st.tuples(
        st.sampled_from(["https://", "http://", "HTTP://", "httpſ://", ""]),
        st.text("aA1.0-x:[]@%/?#\\ ż①。İſ\u212a\x00\ud800f", max_size=20),
    ).map("".join)
)
@example("http://[::1]:3000/?q")
def test_a_target_reads_as_itself_or_is_refused(text: str) -> None:
    with suppress(ValidationError):
        target = parse_target(text)
        assert parse_target(target.url) == target
        assert target.url.isascii()


NOT_PUBLIC = [
    *[
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
    ],
    *["100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.169.254"],
    *["172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1"],
    *["192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.1"],
    *["203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"],
    *[
        "::",
        "::1",
        "::127.0.0.1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
    ],
    *["ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:1ff:ffff::1"],
    *[
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "1fff::1",
    ],
    *["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0", "::ffff:0:127.0.0.1"],
]
PUBLIC = [
    *[
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
    ],
    *["128.0.0.0", "168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255"],
    *["172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255"],
    *["198.20.0.0", "223.255.255.255", "2000::1", "2001:200::1", "2001:4860:4860::8888"],
    *["2001:db7:ffff::1", "2001:db9::1", "2003::1", "2a00::1", "3ffe::1", "3fff:1000::1"],
    *["::ffff:1.1.1.1"],
]


def test_what_is_public() -> None:
    assert [address for address in NOT_PUBLIC if is_public(ip_address(address))] == []
    assert [address for address in PUBLIC if not is_public(ip_address(address))] == []


@given(st.ip_addresses())
def test_nothing_private_is_public(address: object) -> None:
    known = ip_address(str(address))
    if is_public(known):
        known = getattr(known, "ipv4_mapped", None) or known
        assert not any([known.is_private, known.is_loopback, known.is_link_local])
        assert not any([known.is_multicast, known.is_unspecified, known.is_reserved])


@pytest.mark.parametrize(
    "text",
    [
        *["https://example.com/", "https://example.com:8443/", "https://1.1.1.1/"],
        *["https://[2a00::1]:8443/", "https://intranet/", "https://bücher.example/"],
    ],
)
def test_https_is_open(text: str) -> None:
    CLOSED.check(parse_target(text))


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("http://127.0.0.1:3000/x", "127.0.0.1:3000"),
        ("https://127.0.0.1:3000/x", "127.0.0.1:3000"),
        ("http://127.0.0.1/", "127.0.0.1:80"),
        ("https://169.254.169.254/latest", "169.254.169.254:443"),
        ("http://1.1.1.1/", "1.1.1.1:80"),
        ("http://[::1]:3000/", "[::1]:3000"),
        ("https://[fd00:ec2::254]/", "[fd00:ec2::254]:443"),
        ("https://[64:ff9b::7f00:1]/", "[64:ff9b::7f00:1]:443"),
        ("http://[::ffff:127.0.0.1]:3000/", "127.0.0.1:3000"),
        ("http://localhost:3000/", "127.0.0.1:3000"),
        ("https://LocalHost:3000/", "127.0.0.1:3000"),
    ],
)
def test_what_is_blocked_says_which_line_would_allow_it_and_that_line_does(
    text: str, entry: str
) -> None:
    target = parse_target(text)
    with pytest.raises(TargetNotAllowed, match=r"is blocked") as refused:
        CLOSED.check(target)
    assert refused.value.hint is not None
    assert f'[egress] allow = ["{entry}"]' in refused.value.hint
    Egress("public", [entry]).check(target)


def test_plain_http_to_a_name_is_blocked_whatever_is_listed() -> None:
    listed = Egress("public", ["0.0.0.0/0:1-65535", "[::/0]:1-65535"])
    with pytest.raises(TargetNotAllowed, match=r"plain http may only go to addresses") as refused:
        listed.check(parse_target("http://example.com:8080/"))
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("use https")


@pytest.mark.parametrize("entry", ["127.0.0.1:3000", "[::1]:3000", "127.0.0.0/8:3000"])
def test_localhost_is_either_loopback_address(entry: str) -> None:
    Egress("public", [entry]).check(parse_target("http://localhost:3000/"))


ALLOW = ["127.0.0.1:3000", "[::1]:3001", "10.1.2.0/24:8000-8099", "[fd00:1::/64]:443"]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("http://127.0.0.1:3000/", True),
        ("https://127.0.0.1:3000/", True),
        ("http://127.0.0.1:3001/", False),
        ("http://127.0.0.2:3000/", False),
        ("http://[::1]:3001/", True),
        ("http://[::1]:3000/", False),
        ("http://localhost:3000/", True),
        ("http://localhost:3001/", True),
        ("http://localhost:3002/", False),
        ("http://localhost.example:3000/", False),
        ("http://a.localhost:3000/", False),
        ("http://10.1.2.0:8000/", True),
        ("http://10.1.2.255:8099/", True),
        ("http://10.1.2.255:8100/", False),
        ("http://10.1.2.255:7999/", False),
        ("http://10.1.3.0:8000/", False),
        ("https://[fd00:1::ffff]/", True),
        ("http://[fd00:1::ffff]/", False),
        ("https://[fd00:1:0:1::]/", False),
    ],
)
def test_allow(text: str, allowed: bool) -> None:
    egress = Egress("public", ALLOW)
    if allowed:
        egress.check(parse_target(text))
    else:
        with pytest.raises(TargetNotAllowed):
            egress.check(parse_target(text))


@pytest.mark.parametrize(
    "entry",
    [
        *["", "127.0.0.1", "localhost:3000", "example.com:80", "*", "*:80", "127.0.0.1:", ":3000"],
        *["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:9-8", "127.0.0.1:*", "127.0.0.1:-1"],
        *["127.0.0.1:80-", "127.0.0.1:80,81", "127.0.0.1:80-81-82", "127.0.0.1:٣", " 127.0.0.1:80"],
        *["http://127.0.0.1:80", "127.1:80", "0177.0.0.1:80", "2130706433:80", "10.1.2.3/24:80"],
        *["10.0.0.0/33:80", "::1:3000", "[127.0.0.1]:80", "[fe80::1%lo]:80", "[fd00::1/64]:80"],
        *["[::ffff:127.0.0.1]:80", "[::ffff:0:0/96]:80", "[]:80", "[::1]", "127.0.0.1:80\n"],
    ],
)
def test_an_entry_that_cannot_be_read_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=r"as in|expected|ports are") as refused:
        Egress("public", ["127.0.0.1:3000", entry])
    assert repr(entry) in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "instead"),
    [
        ("localhost:3000", ", not a name: write 127.0.0.1:3000"),
        ("example.com:80", ", not a name: write the address it stands for"),
        ("10.1.2.3/24:80", ", whose network is 10.1.2.0/24"),
    ],
)
def test_an_entry_that_is_no_address_is_told_what_to_write(entry: str, instead: str) -> None:
    with pytest.raises(ValueError, match="expected an address such as") as refused:
        Egress("public", [entry])
    assert str(refused.value).endswith(f"got {entry!r}{instead}")


def test_the_only_mode_is_public() -> None:
    with pytest.raises(ValueError, match="the mode must be \"public\", got 'private'"):
        Egress("private", [])


# What an entry of its own alone opens


SENSITIVE = [
    *["169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "192.0.0.192"],
    *["fe80::1", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "64:ff9b::a9fe:a9fe"],
    *["64:ff9b:1::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "2002:a9fe:a9fe::1", "::a9fe:a9fe"],
    *["::ffff:0:a9fe:a9fe", "::ffff:0:a00:1", "::10.0.0.1", "2002:a00:1::", "64:ff9b:1::a00:1"],
]
EVERYTHING = ["0.0.0.0/0:1-65535", "[::/0]:1-65535"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("text", SENSITIVE)
def test_metadata_and_link_local_addresses_need_an_entry_of_their_own(
    text: str, scheme: str
) -> None:
    address = ip_address(text)
    written = f"[{text}]" if ":" in text else text
    assert not CLOSED.permits(scheme, address, 80)
    assert not Egress("public", EVERYTHING).permits(scheme, address, 80)
    exact = Egress("public", [f"{written}:80"])
    assert exact.permits(scheme, address, 80)
    assert not exact.permits(scheme, address, 81)
    bits = "/128]" if ":" in text else "/32"
    Egress("public", [f"{written.rstrip(']')}{bits}:80"]).check(
        parse_target(f"{scheme}://{written}:80/")
    )


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_plain_http_goes_to_listed_addresses_alone(address: object, port: int) -> None:
    known = ip_address(str(address))
    assert not CLOSED.permits("http", known, port)
    assert CLOSED.permits("https", known, port) == is_public(known)


def test_a_mapped_address_is_the_one_within() -> None:
    listed = Egress("public", ["127.0.0.1:80", "169.254.169.254:80"])
    for text in ("::ffff:127.0.0.1", "::ffff:a9fe:a9fe"):
        assert listed.permits("http", ip_address(text), 80)
    for text in ("::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::"):
        assert not listed.permits("https", ip_address(text), 80)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.5.5.5", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "10.0.0.7"]
)
def test_lqs_own_listener_needs_an_entry_of_its_own(text: str) -> None:
    address = ip_address(text)
    egress = Egress("public", EVERYTHING)
    egress.protect(7420, lambda asked: str(asked) == "10.0.0.7")
    assert not egress.permits("http", address, 7420)
    assert egress.permits("http", address, 7421)
    assert egress.permits("http", ip_address("10.0.0.8"), 7420)
    written = f"[{text}]" if text in {"::1", "::"} else text.removeprefix("::ffff:")
    exact = Egress("public", [f"{written}:7420"])
    exact.protect(7420, lambda _: True)
    assert exact.permits("http", address, 7420)


def test_whoever_pushes_does_not_learn_which_addresses_are_lqs_own() -> None:
    """But for the loopback ones, which tell nothing, it comes out where the call is made."""
    egress = Egress("public", ["10.0.0.0/8:443", "127.0.0.0/8:443"])
    egress.protect(443, lambda asked: str(asked) in {"1.1.1.1", "10.0.0.7"})
    for text in ("1.1.1.1", "10.0.0.7"):
        assert not egress.permits("https", ip_address(text), 443)
        egress.check(parse_target(f"https://{text}/"))
    refused = []
    for text in ("127.0.0.1", "192.168.0.1"):
        with pytest.raises(TargetNotAllowed) as blocked:
            egress.check(parse_target(f"https://{text}/"))
        refused.append((blocked.value.message + str(blocked.value.hint)).replace(text, "HERE"))
    assert refused[0] == refused[1]


def test_a_refusal_does_not_wait_for_files_to_ask_what_is_here() -> None:
    def lacks_files(_: object) -> bool:
        raise OSError(24, "Too many open files")

    egress = Egress("public", ["10.0.0.0/8:443"])
    egress.protect(443, lacks_files)
    egress.check(parse_target("https://10.0.0.7/"))
    with pytest.raises(OSError, match="Too many open files"):
        egress.permits("https", ip_address("10.0.0.7"), 443)


@pytest.mark.parametrize(
    "pin", ["10.99.0.5", "127.0.0.1", "169.254.169.254", "[fd00:1::5]", "[fe80::1]"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refusal_does_not_tell_the_address_of_a_pin(scheme: str, pin: str) -> None:
    """The words are the same whatever it is; only what the target says is in them."""

    def refusal(address: str) -> str:
        egress = Egress("public", [], parse_pins([f"web.test:8443:{address}"]))
        egress.protect(8443, lambda _: True)
        with pytest.raises(TargetNotAllowed) as refused:
            egress.check(parse_target(f"{scheme}://web.test:8443/"))
        return f"{refused.value.message} {refused.value.hint}"

    assert refusal(pin) == refusal("192.168.7.7")
    assert pin.strip("[]") not in refusal(pin)
    assert "ADDRESS:8443" in refusal(pin)


@pytest.mark.parametrize(
    "entry",
    [
        *["169.254.0.0/16:80", "169.254.169.0/24:80", "[fe80::/10]:80", "[fd00:ec2::/64]:80"],
        *["[64:ff9b:1::/96]:80", "[2002::/16]:80", "[::/96]:80", "[::ffff:0:0:0/96]:80"],
    ],
)
def test_a_network_of_sensitive_addresses_is_refused_since_it_would_open_nothing(
    entry: str,
) -> None:
    with pytest.raises(ValueError, match="are listed singly") as refused:
        Egress("public", [entry])
    assert repr(entry) in str(refused.value)


# Addresses given to names


def test_pins() -> None:
    pins = parse_pins(
        [
            *[
                "Example.COM:443:127.0.0.1",
                "example.com:443:[::1]",
                "b\u00fccher.test:8443:10.0.0.1",
            ],
            *["web:80:[::ffff:10.0.0.2]", "localhost:80:127.0.0.9"],
        ]
    )
    assert pins == {
        ("example.com", 443): (ip_address("127.0.0.1"), ip_address("::1")),
        ("xn--bcher-kva.test", 8443): (ip_address("10.0.0.1"),),
        ("web", 80): (ip_address("10.0.0.2"),),
        ("localhost", 80): (ip_address("127.0.0.9"),),
    }


def test_a_pinned_name_is_judged_by_its_address() -> None:
    pins = parse_pins(["web:80:10.0.0.2", "web:443:10.0.0.2", "up:443:1.1.1.1"])
    egress = Egress("public", ["10.0.0.2:80"], pins)
    egress.check(parse_target("http://web/"))
    egress.check(parse_target("https://up/"))
    egress.check(parse_target("https://web:8443/"))  # not pinned: looked up when called
    for text in ("https://web/", "http://web:8080/", "http://up/"):
        with pytest.raises(TargetNotAllowed):
            egress.check(parse_target(text))


@pytest.mark.parametrize(
    "entry",
    [
        *["", "a.test", "a.test:443", "a.test:443:", ":443:127.0.0.1", "a.test::127.0.0.1"],
        *["a.test:443:::1", "a.test:443:localhost", "a.test:443:b.test", "*:443:127.0.0.1"],
        *["a.test:0:127.0.0.1", "a.test:65536:127.0.0.1", "a.test:0443:127.0.0.1"],
        *["a.test:22:127.0.0.1", "a.test:443:127.1", "a.test:443:2130706433", "a_:b:127.0.0.1"],
        *["127.0.0.1:443:127.0.0.2", "[::1]:443:127.0.0.1", "a.test.:443:127.0.0.1"],
        *["a.test:443:[fe80::1%lo]", "a.test:443:127.0.0.1:80", "a.test:443:127.0.0.1 "],
        *["https://a.test:443:127.0.0.1", "-a.test:443:127.0.0.1", "a.test:443:10.0.0.0/8"],
    ],
)
def test_a_pin_that_cannot_be_read_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="got ") as refused:
        parse_pins(["a.test:80:127.0.0.1", entry])
    assert str(refused.value).endswith(f"got {entry!r}")
