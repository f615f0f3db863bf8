"""The wire, without a socket: what of a push is understood, and what is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from lq import wire
from lq.batch import Entry
from lq.errors import PayloadTooLarge, ValidationError
from lq.model import Completion, IfExists, Push, RetryPolicy

NOW = 1_794_990_400_123  # 2026-11-18T08:26:40.123Z
DAY = 86_400_000


def push(*headers: tuple[str, str] | tuple[bytes, bytes], payload: bytes = b"") -> Push:
    raw = [
        (n if isinstance(n, bytes) else n.encode(), v if isinstance(v, bytes) else v.encode())
        for n, v in headers
    ]
    return wire.decode_push("q", raw, payload)


def refused(*headers: tuple[str, str] | tuple[bytes, bytes]) -> list[str]:
    """The issues of a push, as `field: message`."""
    with pytest.raises(ValidationError) as caught:
        push(*headers)
    return [f"{issue.path}: {issue.message}" for issue in caught.value.issues]


# A push


def test_push_without_headers_leaves_everything_to_the_queue() -> None:
    assert push(("Host", "localhost"), payload=b"\0\xff") == Push(queue="q", payload=b"\0\xff")


def test_push_with_every_header() -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    pushed = push(
        ("Content-Type", "application/JSON;  charset=utf-8"),
        ("X-LQ-Target", "https://example.com/a?b=c"),
        ("x-lq-key", "user 7"),
        ("x-lq-delay", "1d12h"),
        ("x-lq-headers", '{"x-team": "mail", "Authorization": "Bearer t"}'),
        ("x-lq-method", "put"),
        ("x-lq-retry", "10s,1m"),
        ("x-lq-timeout", "90s"),
        ("x-lq-if-exists", "keep"),
        ("x-lq-expires", "2h"),
        ("x-lq-completion", "Callback"),
        ("x-lq-label", "invoice, eu"),
        ("x-lq-validate", "none"),
        ("traceparent", traceparent),
        ("tracestate", "a=1"),
    )
    assert pushed == Push(
        queue="q",
        payload=b"",
        content_type="application/JSON;  charset=utf-8",
        target="https://example.com/a?b=c",
        key="user 7",
        delay_ms=DAY + DAY // 2,
        headers={"x-team": "mail", "Authorization": "Bearer t"},
        method="PUT",
        retry=RetryPolicy(2, (10_000, 60_000)),
        timeout_ms=90_000,
        if_exists=IfExists.KEEP,
        expires_ms=7_200_000,
        labels=("invoice", "eu"),
        completion=Completion.CALLBACK,
        validate=False,
        traceparent=traceparent,
        tracestate="a=1",
    )


@pytest.mark.parametrize(
    ("text", "delay_ms"),
    [("1500.5", 1500), ("-5", 0), ("0", 0), ("1e+3", 1000), ("86400000", DAY), ("5m", 300_000)],
)
def test_a_delay_is_what_javascript_prints_or_a_duration(text: str, delay_ms: int) -> None:
    assert push(("x-lq-delay", text)).delay_ms == delay_ms


@pytest.mark.parametrize(
    "text", ["1e308", "1e+21", "NaN", "Infinity", "5 parsecs", "9223372036854775808", "", "5M"]
)
def test_a_delay_that_means_nothing_is_refused_by_name(text: str) -> None:
    (issue,) = refused(("x-lq-delay", text))
    assert issue.startswith("x-lq-delay: ")


@pytest.mark.parametrize(
    "text",
    ["2026-12-01T09:00:00", "0000-01-01T00:00:00Z", "2026-12-01T09:00:00+25:00", "tomorrow", ""],
)
def test_an_instant_that_means_nothing_is_refused_by_name(text: str) -> None:
    (issue,) = refused(("x-lq-on", text))
    assert issue.startswith("x-lq-on: ")


def test_an_instant_wins_over_a_delay() -> None:
    pushed = push(("x-lq-delay", "5m"), ("x-lq-on", "2026-11-18T08:26:40.123Z"))
    assert (pushed.on_at, pushed.delay_ms) == (NOW, None)


def test_an_expiry_is_an_instant_or_a_duration() -> None:
    assert push(("x-lq-expires", "90s")).expires_ms == 90_000
    at = push(("x-lq-expires", "2026-11-18T08:26:40.123Z"))
    assert (at.expires_at, at.expires_ms) == (NOW, None)


@pytest.mark.parametrize("raw", ["größe".encode(), "größe".encode("latin-1")])
def test_text_is_utf8_or_latin1(raw: bytes) -> None:
    assert push((b"x-lq-key", raw)).key == "größe"
    assert push((b"x-lq-label", raw)).labels == ("größe",)
    assert push((b"x-lq-headers", b'{"x-a": "' + raw + b'"}')).headers == {"x-a": "größe"}


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert refused(
        ("x-lq-dealy", "5m"),
        ("x-lq-key", ""),
        ("x-lq-method", "TRACE"),
        ("x-lq-if-exists", "maybe"),
    ) == [
        "x-lq-dealy: is not known here; did you mean x-lq-delay?",
        "x-lq-key: must not be empty",
        'x-lq-method: expected "GET", "POST", "PUT", "PATCH" or "DELETE", got \'TRACE\'',
        'x-lq-if-exists: expected "replace", "keep" or "reject", got \'maybe\'',
    ]


def test_a_header_that_is_there_twice_is_refused_whatever_its_case() -> None:
    assert refused(("x-lq-key", "a"), ("X-LQ-Key", "a")) == ["x-lq-key: is there more than once"]


def test_what_completes_an_item_is_one_of_two() -> None:
    (issue,) = refused(("x-lq-completion", "promise"))
    assert 'expected "response" or "callback"' in issue


@pytest.mark.parametrize("value", ["text/plain; x=é".encode(), b"text/plain\x01", b"\xff"])
def test_a_content_type_that_could_not_go_out_again_is_refused(value: bytes) -> None:
    (issue,) = refused((b"Content-Type", value))
    assert issue.startswith("content-type: ")


def test_a_trace_of_a_later_version_may_say_more() -> None:
    later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-ever"
    assert push(("traceparent", later)).traceparent == later


@pytest.mark.parametrize(
    "traceparent",
    [
        "garbage",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
    ],
)
def test_a_broken_trace_is_ignored_as_its_specification_asks(traceparent: str) -> None:
    pushed = push(("traceparent", traceparent), ("tracestate", "a=1"))
    assert (pushed.traceparent, pushed.tracestate) == (None, None)


@pytest.mark.parametrize("text", ["1ns", "0s", "25h", "-1s", "30"])
def test_a_timeout_has_bounds(text: str) -> None:
    (issue,) = refused(("x-lq-timeout", text))
    assert issue.startswith("x-lq-timeout: ")


@pytest.mark.parametrize("text", ["a,b,c,d,e,f,g,h,i", "a,,b", "a b", "x" * 65, ","])
def test_labels_are_a_few_words(text: str) -> None:
    (issue,) = refused(("x-lq-label", text))
    assert issue.startswith("x-lq-label: ")


# Names


@pytest.mark.parametrize(
    "name",
    ["mail", "lq/queue", ".hidden", "a//b", "/a", "a/", "Größe", "e\u0301", "\U0001f4ec", "שלום",
     "'; DROP TABLE jobs", "%_\\", "x" * 255, "items2/my-items", "..."],
)  # fmt: skip
def test_queue_names_that_are_fine_stay_as_they_are(name: str) -> None:
    assert wire.check_queue(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a\0b", "a\nb", "\x7f", "\x85", "x" * 256, "é" * 128, "..", "a/../b", ".", "./a", "items",
     "a/items", "items/a", "\ud800"],
)  # fmt: skip
def test_queue_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|expected)"):
        wire.check_queue(name)


@given(st.text())
@example("é" * 256)
@example("é" * 257)
@example("\U0001f4ec" * 128)
def test_a_key_is_1_to_512_bytes_without_control_characters(key: str) -> None:
    control = any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) <= 0xDFFF for c in key)
    fine = not control and 1 <= len(key.encode(errors="replace")) <= 512
    try:
        assert wire.check_key(key) == key
    except ValueError:
        assert not fine
    else:
        assert fine


def test_keys_are_compared_as_bytes() -> None:
    assert push(("x-lq-key", "é")).key != push(("x-lq-key", "e\u0301")).key


# Headers of an item


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "TE", "Upgrade", "Expect",
     "Keep-Alive", "Proxy-Authorization", "Trailer", "X-LQ-Id", "Webhook-Signature"],
)  # fmt: skip
def test_headers_that_are_not_the_items_to_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is set by lq itself"):
        wire.check_item_headers({name: "x"})


@pytest.mark.parametrize("name", ["", "X A", "X-A:", "é", "a\r\nb", "(x)", "a\0"])
def test_header_names_are_tokens(name: str) -> None:
    with pytest.raises(ValueError, match="is not a header name"):
        wire.check_item_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\0", "\x1b[31m", "\x7f", "\ud800"])
def test_header_values_cannot_break_out(value: str) -> None:
    with pytest.raises(ValueError, match="the value of 'x-a' has a control character"):
        wire.check_item_headers({"x-a": value})


@pytest.mark.parametrize("value", [5, None, True, ["a"], {"a": "b"}, 1.5])
def test_header_values_are_strings(value: object) -> None:
    with pytest.raises(ValueError, match="the value of 'x-a' must be a string"):
        wire.check_item_headers({"x-a": value})


def test_headers_have_limits() -> None:
    assert len(wire.check_item_headers({f"x-{n}": "v" for n in range(32)})) == 32
    with pytest.raises(ValueError, match="at most 32 headers"):
        wire.check_item_headers({f"x-{n}": "v" for n in range(33)})
    assert wire.check_item_headers({"x-a": "v" * (8192 - 7)})
    with pytest.raises(ValueError, match="at most 8192 bytes"):
        wire.check_item_headers({"x-a": "v" * (8192 - 6)})


def test_a_header_name_is_there_once_whatever_its_case() -> None:
    with pytest.raises(ValueError, match="'X-A' is there twice"):
        wire.check_item_headers({"x-a": "1", "X-A": "2"})
    assert refused(("x-lq-headers", '{"x-a": "1", "x-a": "2"}')) == [
        "x-lq-headers: the member 'x-a' is there twice"
    ]


def test_what_is_shown_in_place_of_a_credential_is_no_credential() -> None:
    with pytest.raises(ValueError, match="in place of a credential"):
        wire.check_item_headers({"Authorization": wire.REDACTED})


@pytest.mark.parametrize("text", ["[]", "5", "null", '"a"', "{", "", '{"a": NaN}', "{'a': 'b'}"])
def test_item_headers_are_a_json_object(text: str) -> None:
    (issue,) = refused(("x-lq-headers", text))
    assert issue.startswith("x-lq-headers: ")


# A PATCH


def test_an_edit_names_only_what_changes() -> None:
    edit = wire.decode_edit([(b"x-lq-delay", b"5m"), (b"Content-Type", b"text/plain")], b"")
    assert edit.delay_ms == 300_000
    assert (edit.payload, edit.content_type, edit.target, edit.labels) == (UNSET,) * 4


def test_an_edit_with_a_body_replaces_payload_and_type() -> None:
    edit = wire.decode_edit([(b"content-type", b"text/plain")], b"new")
    assert (edit.payload, edit.content_type) == (b"new", "text/plain")
    assert wire.decode_edit([], b"new").content_type is None


def test_an_edit_takes_labels_away() -> None:
    assert wire.decode_edit([(b"x-lq-label", b"")], b"").labels == ()


@pytest.mark.parametrize("name", [b"x-lq-key", b"x-lq-if-exists", b"x-lq-validate"])
def test_an_edit_cannot_change_what_an_item_is(name: bytes) -> None:
    with pytest.raises(ValidationError, match="cannot be changed any more"):
        wire.decode_edit([(name, b"x")], b"")


# Whatever the bytes

HEADER_NAMES = st.one_of(
    st.sampled_from([b"x-lq-delya", b"X-LQ-KEY", b"Content-Type", b"traceparent", b"tracestate"]),
    st.sampled_from(["target", "key", "delay", "on", "headers", "method", "retry", "timeout"]).map(
        lambda word: f"x-lq-{word}".encode()
    ),
    st.sampled_from(["if-exists", "expires", "completion", "label", "validate"]).map(
        lambda word: f"x-lq-{word}".encode()
    ),
    st.binary(max_size=20),
)
HEADER_VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.from_regex(r"[0-9]{1,4}[.eE+-]?[0-9]{0,3}(ms|s|m|h|d|w)?").map(str.encode),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(lambda d: json.dumps(d).encode()),
)


def read_or_refused(read: Callable[[], object]) -> object:
    """What was read, or None after a refusal that can be sent."""
    try:
        return read()
    except ValidationError as error:
        refusal = json.loads(wire.encode_error(error, "r"))
    assert refusal["type"] == "VALIDATION_ERROR"
    assert refusal["issues"]
    return None


@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=8), st.binary(max_size=8))
def test_whatever_the_bytes_a_push_is_read_or_refused(
    headers: list[tuple[bytes, bytes]], payload: bytes
) -> None:
    read_or_refused(lambda: wire.decode_edit(headers, payload))
    pushed = read_or_refused(lambda: wire.decode_push("q", headers, payload))
    if isinstance(pushed, Push):
        assert pushed.payload == payload
        texts = [pushed.key, pushed.target, pushed.content_type, pushed.traceparent]
        texts += [pushed.tracestate, *pushed.labels, *pushed.headers, *pushed.headers.values()]
        assert all(text.encode() for text in texts if text), "what is no UTF-8 cannot be stored"


# A batch


def entries(*parts: bytes, most: int = 100) -> list[Entry]:
    reader = wire.BatchReader("q", [(b"Content-Type", b"application/x-ndjson")], most)
    return [entry for part in parts for entry in reader.feed(part)] + [*reader.end()]


@given(
    st.lists(st.one_of(st.binary(max_size=9), st.just(b'{"payload": "a"}'))),
    st.lists(st.integers(0, 60)),
)
def test_lines_are_the_same_however_they_come(lines: list[bytes], cuts: list[int]) -> None:
    body = b"\n".join(lines)
    edges = [0, *sorted(cuts), len(body)]
    parts = [body[start:end] for start, end in pairwise(edges)]
    cut, whole = entries(*parts), entries(body)
    assert [told(entry) for entry in cut] == [told(entry) for entry in whole]
    numbers = [n for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    assert [entry.line for entry in whole] == numbers


def told(entry: Entry) -> object:
    push = entry.push
    return entry.line, push if isinstance(push, Push) else push.args


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_without_an_end_takes_no_memory(size: int) -> None:
    reader = wire.BatchReader("q", [(b"content-type", b"application/jsonl; a=b")], 10)
    endless = b"x" * size
    for _ in range(200_000 // size):
        assert list(reader.feed(endless)) == []
    [refused, good] = reader.feed(b"\n{}\n")
    assert (refused.line, good.line) == (1, 2)
    assert isinstance(refused.push, PayloadTooLarge)
    assert good.push == Push(queue="q", payload=b"")


@given(st.lists(st.sampled_from(["{}", "5", '"a,]"', "[1, [2]]", '{"a": "]"}']), max_size=6))
def test_an_array_is_cut_where_its_elements_end(elements: list[str]) -> None:
    for array in (f"[{', '.join(elements)}]", f" [ {' , '.join(elements)}\n] "):
        reader = wire.BatchReader("q", [], 100)
        assert len([*reader.whole(array.encode())]) == len(elements)


@given(st.binary(max_size=60))
@example(b"[")
@example(b"[" * 60)
@example(b'[{"payload": 1e999}]')
def test_no_body_of_a_batch_is_too_odd_to_refuse(body: bytes) -> None:
    reader = wire.BatchReader("q", [], 100)
    with contextlib.suppress(ValidationError):
        assert len([*reader.whole(body)]) == len(json.loads(body))
