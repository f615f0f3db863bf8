"""The configuration: what is accepted, what is refused and how, and that the example is true."""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lq.config import Config, Limits, Tls, load
from lq.config.scriptlets import KEYS as SCRIPTLET_KEYS
from lq.errors import ConfigError
from lq.model import QueueSettings, RetryPolicy

SCHEDULE_KEYS = {
    *("key", "schedule", "queue", "timezone", "target", "payload", "content_type", "method"),
    *("headers", "retry", "timeout", "expires", "labels", "start", "until", "times", "jitter"),
    *("misfire", "overlap", "paused", "validate", "completion"),
}
ALERT_KEYS = {
    *("name", "target", "preset", "headers", "queues", "schedules", "scriptlets", "on", "streak"),
    *("late", "longer_than", "shorter_than", "digest"),
}
EXAMPLE = Path(__file__).parents[2] / "lq.toml.example"
ENVIRON = {"HOME": "/home/ada"}

Load = Callable[..., Config]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as ./lq.toml, with LQ_* variables."""
    monkeypatch.chdir(tmp_path)

    def load_it(text: str | bytes = "", **variables: str) -> Config:
        data = text if isinstance(text, bytes) else text.encode()
        Path("lq.toml").write_bytes(data)
        return load(None, ENVIRON | variables)

    return load_it


def refusal(load_text: Load, text: str | bytes = "", **variables: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_text(text, **variables)
    assert "\n" not in raised.value.message
    assert raised.value.exit_code == 78
    return raised.value.message


# The defaults and the example


def defaults(origin: Mapping[str, str]) -> Config:
    data_dir = Path("/home/ada/.local/share/lq")
    return Config(data_dir=data_dir, socket=data_dir / "lq.sock", origin=origin)


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """What an empty folder configures."""
    monkeypatch.chdir(tmp_path)
    return load(None, ENVIRON)


def test_nothing_configured_gives_the_defaults(nothing: Config) -> None:
    assert nothing == defaults(nothing.origin)
    assert set(nothing.origin.values()) == {"default"}


def uncommented() -> str:
    """The example with each of its keys uncommented; only root can run things as others."""
    key = re.compile(r"^# (\w+ = |\[queues|\[scriptlets|\[\[(schedules|alerts))", re.MULTILINE)
    me = pwd.getpwuid(os.geteuid()).pw_name
    text = EXAMPLE.read_text(encoding="utf-8").replace('user = "backup"', f'user = "{me}"')
    return key.sub(r"\1", text)


def test_the_example_changes_nothing(nothing: Config, load_text: Load) -> None:
    assert replace(load_text(EXAMPLE.read_bytes()), path=None) == nothing


def test_the_example_shows_the_defaults(load_text: Load) -> None:
    shown = load_text(uncommented())
    nothing: dict[str, Any] = {"queues": {}, "schedules": (), "scriptlets": {}, "alerts": ()}
    assert replace(shown, path=None, **nothing) == defaults(shown.origin)


def test_the_example_shows_each_key(nothing: Config, load_text: Load) -> None:
    document = tomllib.loads(uncommented())
    queue = document.pop("queues")["mail"]
    scriptlet = document.pop("scriptlets")["backup"]
    (schedule,), (alert,) = document.pop("schedules"), document.pop("alerts")
    shown = {
        f"{table}.{key}" if isinstance(value, dict) else table
        for table, value in document.items()
        for key in (value if isinstance(value, dict) else [table])
    }
    assert shown == nothing.origin.keys()
    assert queue.keys() == {n.removesuffix("_ms") for n in QueueSettings.__struct_fields__}
    assert None not in _members(load_text(uncommented()).queues["mail"])
    assert schedule.keys() == SCHEDULE_KEYS
    assert alert.keys() == ALERT_KEYS
    assert set(scriptlet) == set(SCRIPTLET_KEYS)


def _members(settings: QueueSettings) -> list[object]:
    return [getattr(settings, name) for name in QueueSettings.__struct_fields__]


# What is accepted


def test_a_file_sets_what_it_names(load_text: Load) -> None:
    config = load_text(
        """
        listen = "[::1]:0"
        max_payload = "512KiB"
        dispatch.timeout = "1m30s"
        [egress]
        allow = ["127.0.0.1:3000"]
        [retry]
        factor = 2
        [queues.mail]
        [queues."/api/päck"]
        target = "http://127.0.0.1:3000/pack"
        headers = { "X-Team" = "b c" }
        retry = ["10s", "1m"]
        validate = "none"
        """
    )
    assert (config.host, config.port) == ("::1", 0)
    assert config.max_payload == 512 * 1024
    assert config.dispatch.timeout_ms == 90_000
    assert config.egress.allow == ("127.0.0.1:3000",)
    assert config.retry.factor == 2.0
    assert config.queues == {
        "mail": QueueSettings(),
        "/api/päck": QueueSettings(
            target="http://127.0.0.1:3000/pack",
            headers={"X-Team": "b c"},
            retry=RetryPolicy(2, (10_000, 60_000)),
            validate="none",
        ),
    }
    assert config.path == Path("lq.toml")
    assert config.origin["dispatch.timeout"] == "lq.toml:4"
    assert config.origin["queues./api/päck.retry"] == "lq.toml:13"
    assert config.origin["history.keep"] == "default"


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ("8", RetryPolicy(8)),
        ("0", RetryPolicy(0)),
        ('"8"', RetryPolicy(8)),
        ('"10s, 1m"', RetryPolicy(2, (10_000, 60_000))),
    ],
)
def test_the_retry_of_a_queue_is_a_count_or_waits(
    load_text: Load, retry: str, expected: RetryPolicy
) -> None:
    assert load_text(f"[queues.q]\nretry = {retry}").queues["q"].retry == expected


def test_what_is_secret_can_be_encrypted_and_left_unshown(load_text: Load, tmp_path: Path) -> None:
    config = load_text(
        "[secrets]\nkey_file = 'keys/lq'\n"
        "[queues.q]\nredact = ['body', 'header:X-Customer', 'response']",
        LQ_QUEUES_P_REDACT="body, header:x-a",
    )
    assert config.secrets.key_file == tmp_path / "keys" / "lq"
    assert config.queues["q"].redact == ("body", "header:x-customer", "response")
    assert config.queues["p"].redact == ("body", "header:x-a")
    assert load_text(LQ_SECRETS_CREDENTIAL="lq-key").secrets.credential == "lq-key"


def test_the_files_of_tls_are_beside_the_configuration(load_text: Load, tmp_path: Path) -> None:
    config = load_text('[tls]\ncert = "tls/cert.pem"\nkey = "/etc/key.pem"')
    assert config.tls == Tls(cert=tmp_path / "tls/cert.pem", key=Path("/etc/key.pem"))
    assert config.origin["tls.cert"] == "lq.toml:2"
    overridden = load_text('[tls]\ncert = "a"\nkey = "b"', LQ_TLS_CERT="~/cert.pem")
    assert overridden.tls == Tls(cert=Path("/home/ada/cert.pem"), key=tmp_path / "b")
    assert load_text('[tls]\ncert = ""\nkey = ""').tls == Tls()


def test_proxies_are_addresses_and_networks(load_text: Load) -> None:
    config = load_text('trusted_proxy = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]')
    assert [str(each) for each in config.trusted_proxy] == [
        "127.0.0.1/32",
        "10.0.0.0/8",
        "fd00::/8",
    ]
    assert load_text(LQ_TRUSTED_PROXY="::1, 10.0.0.1").trusted_proxy[0] == ip_network("::1")


def test_limits_are_counts_and_durations(load_text: Load) -> None:
    config = load_text('[limits]\nheader_timeout = "5s"\nbad_tokens = 0', LQ_LIMITS_CONNECTIONS="9")
    assert config.limits == Limits(header_timeout_ms=5_000, bad_tokens=0, connections=9)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("localhost:80", "localhost", 80), ("0.0.0.0:65535", "0.0.0.0", 65535), ("[::]:1", "::", 1)],
)
def test_the_address_is_taken_apart(load_text: Load, listen: str, host: str, port: int) -> None:
    config = load_text(f'listen = "{listen}"')
    assert (config.host, config.port) == (host, port)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(load_text: Load) -> None:
    config = load_text(b'\xef\xbb\xbf# x\r\n[dispatch]\r\ntimeout = "5s"\r\n')
    assert config.dispatch.timeout_ms == 5_000
    assert config.origin["dispatch.timeout"] == "lq.toml:3"


# Variables


def test_variables_override_the_file(load_text: Load) -> None:
    config = load_text(
        '[dispatch]\nconcurrency = 1\n[queues."/api/mail"]\nretry = 1\n',
        LQ_DISPATCH_CONCURRENCY="7",
        LQ_RETRY_FACTOR="2.5",
        LQ_MAX_PAYLOAD="2048",
        LQ_EGRESS_ALLOW="127.0.0.1:1, 127.0.0.1:2",
        LQ_QUEUES__API_MAIL_RETRY="10s,1h",
        LQ_QUEUES_NEWS_TARGET="https://example.com",
        LQ_QUEUES_NEWS_HEADERS='{"x-a": "b"}',
    )
    assert config.dispatch.concurrency == 7
    assert config.retry.factor == 2.5
    assert config.max_payload == 2048
    assert config.egress.allow == ("127.0.0.1:1", "127.0.0.1:2")
    assert config.queues["/api/mail"].retry == RetryPolicy(2, (10_000, 3_600_000))
    assert config.queues["news"].target == "https://example.com"
    assert config.queues["news"].headers == {"x-a": "b"}
    assert config.origin["dispatch.concurrency"] == "LQ_DISPATCH_CONCURRENCY"
    assert {"LQ_DISPATCH_CONCURRENCY", "LQ_QUEUES_NEWS_TARGET"} < {*config.variables}
    assert "default" not in config.variables


def test_every_key_has_a_variable(nothing: Config, load_text: Load) -> None:
    for key in nothing.origin:
        variable = f"LQ_{key.replace('.', '_').upper()}"
        assert refusal(load_text, **{variable: "\x07"}).startswith(f"{variable}: ")


def test_an_empty_variable_is_none(load_text: Load) -> None:
    assert load_text("log_level = 'debug'", LQ_LOG_LEVEL="").log_level == "debug"


@pytest.mark.parametrize(
    "variable",
    [
        *("LQ_API_URL", "LQ_TOKEN", "LQ_SECRET", "LQ_BASE_URL", "LQ_ENCRYPTION_KEY"),
        *("LQ_REGISTER", "LQ_REQUIRE_ALL"),
    ],
)
def test_the_variables_of_others_are_left_alone(load_text: Load, variable: str) -> None:
    assert load_text(**{variable: "x"}) == load_text()


def test_a_variable_may_not_mean_two_queues(load_text: Load) -> None:
    message = refusal(load_text, "[queues.a-b]\n[queues.a_b]\n", LQ_QUEUES_A_B_METHOD="PUT")
    assert message == "LQ_QUEUES_A_B_METHOD: could mean the queue a-b or a_b"


def test_where_calls_go_can_be_staged(load_text: Load, tmp_path: Path) -> None:
    config = load_text(
        """
        [dispatch]
        resolve = ["a.test:443:127.0.0.1", "a.test:443:[::1]"]
        ca_file = "ca/staging.pem"
        """
    )
    assert config.dispatch.resolve == ("a.test:443:127.0.0.1", "a.test:443:[::1]")
    assert config.dispatch.ca_file == tmp_path / "ca/staging.pem"
    overridden = load_text(
        '[dispatch]\nca_file = "x.pem"',
        LQ_DISPATCH_RESOLVE="a.test:443:[::1], b.test:80:10.0.0.1",
        LQ_DISPATCH_CA_FILE="/etc/ca.pem",
    )
    assert overridden.dispatch.resolve == ("a.test:443:[::1]", "b.test:80:10.0.0.1")
    assert overridden.dispatch.ca_file == Path("/etc/ca.pem")


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '\n[queues.mail]\nconcurrency = "many"',
            '[queues.mail] concurrency: expected an integer from 1 to 10000, got "many"',
        ),
        ("listen = 7420", "listen: expected HOST:PORT"),
        ('listen = ":7420"', 'got ":7420"'),
        ('listen = "[::1]"', 'got "[::1]"'),
        ('listen = "::1:7420"', 'got "::1:7420"'),
        ('listen = "a:65536"', 'got "a:65536"'),
        ('listen = "a:\u0661"', "listen: expected HOST:PORT"),
        ("max_payload = 0", "got 0"),
        ('max_payload = "1MB"', 'got "1MB"'),
        ('max_payload = "999999999999MiB"', "max_payload: expected a size"),
        ("data_dir = 3", "data_dir: expected a path, got 3"),
        ('data_dir = "a\\u0000b"', "data_dir: expected a path"),
        ('log_level = "loud"', 'expected "debug" or "info" or "warning" or "error", got "loud"'),
        ("dispatch = 3", "dispatch: expected a table, got 3"),
        ("[dispatch]\ntimeout = 60", "[dispatch] timeout: expected a duration"),
        ('[dispatch]\ntimeout = "0s"', 'from 1ms to 24h, such as "30s", got "0s"'),
        ('[dispatch]\ntimeout = "5 parsecs"', "[dispatch] timeout: "),
        ("[dispatch]\nconcurrency = true", "got true"),
        ("[dispatch]\nconcurrency = 2.0", "got 2.0"),
        ("[retry]\nfactor = nan", "[retry] factor: expected a number from 1 to 100, got NaN"),
        ("[retry]\njitter = 1.5", "got 1.5"),
        ("[retry]\njitter = false", "got false"),
        ('[dispatch]\nresolve = "a.test:443:127.0.0.1"', "[dispatch] resolve: expected a list"),
        ("[dispatch]\nca_file = 3", "[dispatch] ca_file: expected a path"),
        ('[egress]\nallow = "127.0.0.1:1"', "[egress] allow: expected a list"),
        ("[egress]\nallow = [1]", "got [1]"),
        ('[egress]\nmode = "any"', '[egress] mode: expected "public", got "any"'),
        ('trusted_proxy = "10.0.0.1"', "trusted_proxy: expected a list of addresses and networks"),
        ('trusted_proxy = ["proxy"]', "trusted_proxy: 'proxy' does not appear to be an IPv4 or"),
        ('trusted_proxy = ["10.0.0.1/8"]', "trusted_proxy: 10.0.0.1/8 has host bits set"),
        ('trusted_proxy = ["0.0.0.0/0"]', "trusted_proxy: 0.0.0.0/0 is everybody; name the"),
        ('trusted_proxy = ["::1", "::/0"]', "trusted_proxy: ::/0 is everybody"),
        ('[tls]\ncert = "a"', "[tls] cert: needs key beside it"),
        ('[tls]\n\nkey = "a"', "[tls] key: needs cert beside it"),
        ("[tls]\ncert = 1", '[tls] cert: expected a path, or "" for none, got 1'),
        ("[limits]\nconnections = 0", "expected an integer from 1 to 100000, got 0"),
        ("[limits]\nrefused = -1", "[limits] refused: expected an integer from 0 to"),
        ('[limits]\nbody_timeout = "0s"', "[limits] body_timeout: expected a duration from 1s"),
        ("[secrets]\nkey_file = 1", '[secrets] key_file: expected a path, or "" for none'),
        ("[secrets]\ncredential = 'a/b'", "[secrets] credential: expected the name of a systemd"),
        ("[queues.q]\nredact = 'body'", "[queues.q] redact: expected a list such as"),
        ("[queues.q]\nredact = ['payload']", '[queues.q] redact: expected "body", "response"'),
        ("queues = 1", "queues: expected a table, got 1"),
        ("queues = [{ name = 'x' }]", "queues: expected a table, got ["),
        ("[queues]\nmail = 1", "[queues.mail]: expected a table, got 1"),
        ('[queues."a/items"]', '[queues."a/items"]: the name of a queue must not have'),
        ('[queues.""]', '[queues.""]: the name of a queue must not be empty'),
        ('[queues."a\\nb"]', '[queues."a\\nb"]: the name of a queue must not have control'),
        ("[queues.q]\nheaders = { a = 1 }", "[queues.q] headers: the value of 'a'"),
        ('[queues.q]\nheaders = { Host = "x" }', "[queues.q] headers: 'Host' is set by lq"),
        ("[queues.q]\nheaders = ['a']", "[queues.q] headers: expected a table of strings"),
        ('[queues.q]\ntarget = "example.com"', "[queues.q] target: expected a URL"),
        ("[queues.q]\nretry = 101", "[queues.q] retry: expected a number of retries"),
        ("[queues.q]\nretry = true", "[queues.q] retry: expected a number of retries"),
        ('[queues.q]\nretry = "often"', "[queues.q] retry: "),
        ("[dispatch]\n[dispatch]", "not valid TOML: Cannot declare [dispatch] twice"),
        ("retry.base = 1\n" + "x = " * 2, "not valid TOML: "),
        (b'listen = "\xff"', "not valid TOML: not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(load_text: Load, text: Any, message: str) -> None:
    said = refusal(load_text, text)
    last = len(text.splitlines())
    assert said.startswith(f"lq.toml:{last}: ")
    assert message in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dispatch]\nconcurency = 3", "[dispatch] concurency: unknown key, did you mean"),
        ("\ndispach.timeout = '5s'", "dispach: unknown key, did you mean [dispatch]?"),
        ("[queue.mail]", "queue: unknown key, did you mean [queues]?"),
        ("[queues.mail]\nretries = 3", "[queues.mail] retries: unknown key, did you mean retry?"),
        ("timeout = '5s'", "did you mean [dispatch] timeout or [validate] timeout?"),
        ("zzz = 1", "zzz: unknown key; known are listen, data_dir, socket, max_payload,"),
        ("[history]\nzzz = 1", "[history] zzz: unknown key; known are keep"),
        ("[history]\nlisten = 'a:1'", "unknown key, listen belongs above the first [table]"),
    ],
)
def test_an_unknown_key_is_refused_with_what_may_be_meant(
    load_text: Load, text: str, message: str
) -> None:
    said = refusal(load_text, text)
    assert said.startswith(f"lq.toml:{len(text.splitlines())}: ")
    assert message in said


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LQ_LISTN": "x"}, "LQ_LISTN: unknown variable, did you mean LQ_LISTEN?"),
        ({"LQ_DATADIR": "x"}, "did you mean LQ_DATA_DIR?"),
        ({"LQ_RETRY_FOO": "x"}, "LQ_RETRY_FOO: unknown variable"),
        ({"LQ_QUEUES_MAIL_URL": "x"}, "LQ_QUEUES_MAIL_URL: unknown variable"),
        ({"LQ_DISPATCH_CONCURRENCY": "many"}, 'expected an integer from 1 to 10000, got "many"'),
        ({"LQ_DISPATCH_CONCURRENCY": "1\n2"}, 'got "1\\n2"'),
        ({"LQ_SCHEDULES": "[]"}, "LQ_SCHEDULES: unknown variable; [[schedules]] are in lq.toml"),
        ({"LQ_SCHEDULES_NIGHTLY_QUEUE": "x"}, "LQ_SCHEDULES_NIGHTLY_QUEUE: unknown variable; "),
        ({"LQ_QUEUES_Q_HEADERS": "{"}, "LQ_QUEUES_Q_HEADERS: "),
        ({"LQ_QUEUES_ITEMS_METHOD": "PUT"}, "LQ_QUEUES_ITEMS_METHOD: the name of a queue"),
    ],
)
def test_a_wrong_variable_is_named(
    load_text: Load, variables: Mapping[str, str], message: str
) -> None:
    assert message in refusal(load_text, **variables)


def test_a_secret_in_a_wrong_table_is_not_shown(load_text: Load) -> None:
    said = refusal(load_text, '[dispatch]\ntimeout = { authorization = "hunter2" }')
    assert "hunter2" not in said


def test_a_socket_that_is_too_long_is_refused(load_text: Load) -> None:
    assert "at most 10" in refusal(load_text, f'socket = "/{"s" * 200}"')


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_refused_in_a_line(tmp_path_factory: Any, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = f"{path}:1: as it is"
    try:
        load(str(path), ENVIRON)
    except ConfigError as error:
        said = error.message
    assert said.startswith(f"{path}:")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://lq.example.com", "https://lq.example.com"),
        ("https://lq.example.com/", "https://lq.example.com"),
        ("http://127.0.0.1:7420/a/b/", "http://127.0.0.1:7420/a/b"),
        ("https://[2001:db8::1]:8443/lq", "https://[2001:db8::1]:8443/lq"),
        ("", None),
    ],
)
def test_a_public_url(load_text: Load, text: str, url: str | None) -> None:
    assert load_text(f'public_url = "{text}"').public_url == url


@pytest.mark.parametrize(
    "text",
    [
        *("lq.example.com", "ftp://lq.example.com", "https://", "https:///lq", "//lq.example.com"),
        *("https://a b.example.com", "https://lq.example.com/?x=1", "https://lq.example.com/#x"),
        *("https://u:p@lq.example.com", "https://lq.example.com:0", "https://lq.example.com:99999"),
        *("https://lq.example.com:x", "https://[::1", "https://l\u00f6.example.com"),
    ],
)
def test_a_public_url_that_is_none(load_text: Load, text: str) -> None:
    assert "public_url" in refusal(load_text, f'public_url = "{text}"')
