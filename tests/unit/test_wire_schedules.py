"""The wire, without a socket: what of a schedule is understood, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lq import wire
from lq.errors import ValidationError
from lq.model import (
    Misfire,
    Overlap,
    Push,
    RetryPolicy,
    ScheduleEdit,
    ScheduleFilter,
    ScheduleSpec,
)
from lq.when import MAX_AT

NOW = 1_794_990_400_123  # 2026-11-18T08:26:40.123Z
HOUR = 3_600_000
DAY = 86_400_000

Pair = tuple[str, str] | tuple[bytes, bytes]


def raw(headers: tuple[Pair, ...]) -> list[tuple[bytes, bytes]]:
    return [
        (n if isinstance(n, bytes) else n.encode(), v if isinstance(v, bytes) else v.encode())
        for n, v in headers
    ]


def schedule(*headers: Pair, rule: str = "30 2 * * *", payload: bytes = b"") -> ScheduleSpec:
    return wire.decode_schedule(
        raw((("x-lq-schedule", rule), ("x-lq-queue", "q"), *headers)), payload, NOW
    )


def edit(*headers: Pair, body: bytes = b"") -> ScheduleEdit:
    return wire.decode_schedule_edit(raw(headers), body, NOW)


def issues(read: Callable[[], object]) -> list[str]:
    """What is refused, as `field: message`."""
    with pytest.raises(ValidationError) as caught:
        read()
    return [f"{issue.path}: {issue.message}" for issue in caught.value.issues]


def document(raw: bytes) -> Any:
    """JSON read by somebody else's parser."""
    return json.loads(raw)


# A schedule


def test_a_schedule_needs_a_rule_and_a_queue() -> None:
    assert schedule(payload=b"\0\xff") == ScheduleSpec(
        rule="30 2 * * *", push=Push(queue="q", payload=b"\0\xff")
    )
    assert issues(lambda: wire.decode_schedule([], b"", NOW)) == [
        "x-lq-schedule: is missing",
        "x-lq-queue: is missing",
    ]


def test_a_schedule_with_every_header() -> None:
    spec = schedule(
        ("X-LQ-Target", "https://example.com/hook"),
        ("x-lq-tz", "Europe/Berlin"),
        ("x-lq-key", "nightly"),
        ("x-lq-headers", '{"x-team": "ops"}'),
        ("x-lq-method", "put"),
        ("x-lq-retry", "10s,1m"),
        ("x-lq-timeout", "90s"),
        ("x-lq-expires", "2h"),
        ("x-lq-label", "report, eu"),
        ("x-lq-validate", "none"),
        ("x-lq-completion", "response"),
        ("x-lq-times", "12"),
        ("x-lq-start", "2026-11-19T08:26:40.123Z"),
        ("x-lq-until", "2026-11-20T09:26:40.123+01:00"),
        ("x-lq-misfire", "ALL"),
        ("x-lq-overlap", "skip"),
        ("x-lq-jitter", "5m"),
        ("Content-Type", "application/json"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        payload=b"{}",
    )
    assert spec == ScheduleSpec(
        rule="30 2 * * *",
        zone="Europe/Berlin",
        key="nightly",
        times=12,
        start_at=NOW + DAY,
        until_at=NOW + 2 * DAY,
        jitter_ms=300_000,
        misfire=Misfire.ALL,
        overlap=Overlap.SKIP,
        push=Push(
            queue="q",
            payload=b"{}",
            content_type="application/json",
            target="https://example.com/hook",
            method="PUT",
            headers={"x-team": "ops"},
            retry=RetryPolicy(2, (10_000, 60_000)),
            timeout_ms=90_000,
            expires_ms=2 * HOUR,
            labels=("report", "eu"),
            validate=False,
        ),
    )


@pytest.mark.parametrize(
    ("rule", "canonical"),
    [
        ("C=30 2 * * *", "30 2 * * *"),
        ("  30  2 * * * ", "30 2 * * *"),
        ("@daily", "@daily"),
        ("C=@daily", "@daily"),
        ("@DAILY", "@daily"),
        (" C=@Midnight", "@midnight"),
        ("\t C= 30 2 * * *", "30 2 * * *"),
        (" C=E=1h", "E=1h"),
        ("E=90s", "E=1m30s"),
        ("C=E=1h", "E=1h"),
        ("*/10 30 2 * * MON", "*/10 30 2 * * MON"),
    ],
)
def test_a_rule_is_cron_a_nickname_or_an_interval(rule: str, canonical: str) -> None:
    assert schedule(rule=rule).rule == canonical


@pytest.mark.parametrize(
    ("rule", "field", "position"),
    [
        ("0 24 * * *", "hour", 3),
        ("C=0 24 * * *", "hour", 3),
        (" C=0 24 * * *", "hour", 4),
        ("60 * * * *", "minute", 1),
        ("0 0 30 2 *", "day", 5),
        ("0 0 * * mon-fri,xyz", "week", 17),
    ],
)
def test_a_bad_rule_is_refused_with_field_and_position(
    rule: str, field: str, position: int
) -> None:
    (issue,) = issues(lambda: schedule(rule=rule))
    assert issue.startswith("x-lq-schedule: ")
    assert field in issue
    assert issue.endswith(f"(at position {position})")


@pytest.mark.parametrize(
    "rule", ["", "E=", "E=0s", "E=1ms", "C=", "@every 5m", "E=soon", "x" * 8000]
)
def test_what_is_no_rule_is_refused_by_name(rule: str) -> None:
    (issue,) = issues(lambda: schedule(rule=rule))
    assert issue.startswith("x-lq-schedule: ")
    assert len(issue) < 1000


@pytest.mark.parametrize(
    "zone",
    ["", "../etc/passwd", "localtime", "posix/Europe/Berlin", "right/UTC", "europe/berlin",
     "Europe", "/usr/share/zoneinfo/UTC", "UTC\0", "CET ", "Europe/Berlin/..", "A" * 8000,
     "Europé"],
)  # fmt: skip
def test_a_zone_that_is_none_has_a_code_of_its_own(zone: str) -> None:
    with pytest.raises(ValidationError) as caught:
        schedule(("x-lq-tz", zone))
    (issue,) = caught.value.issues
    assert (issue.path, issue.code) == ("x-lq-tz", "unknown_timezone")
    assert "Europe/Berlin" in issue.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x-lq-times", "0"),
        ("x-lq-times", "1000000001"),
        ("x-lq-times", "1e3"),
        ("x-lq-times", "-1"),
        ("x-lq-times", "٣"),
        ("x-lq-times", "9" * 5000),
        ("x-lq-jitter", "24h1ms"),
        ("x-lq-jitter", "300"),
        ("x-lq-misfire", "twice"),
        ("x-lq-overlap", "queue"),
        ("x-lq-until", "1969-12-31T23:59:59Z"),
        ("x-lq-until", "90s"),
        ("x-lq-start", "2036-12-01T00:00:00Z"),
        ("x-lq-start", "0001-01-01T00:00:00Z"),
        ("x-lq-start", "tomorrow"),
        ("x-lq-expires", "2026-12-01T00:00:00Z"),
        ("x-lq-expires", "0s"),
        ("x-lq-timeout", "25h"),
        ("x-lq-key", ""),
        ("x-lq-key", f"sch_{'0a' * 16}"),
        ("x-lq-queue", "a/items"),
        ("x-lq-headers", '{"Host": "x"}'),
        ("x-lq-validate", "maybe"),
        ("x-lq-label", "a b"),
    ],
)
def test_what_a_schedule_cannot_say_is_refused_by_name(name: str, text: str) -> None:
    given = [(b"x-lq-schedule", b"@daily"), (name.encode(), text.encode())]
    if name != "x-lq-queue":
        given.append((b"x-lq-queue", b"q"))
    (issue,) = issues(lambda: wire.decode_schedule(given, b"", NOW))
    assert issue.startswith(f"{name}: ")


def test_the_ends_of_what_is_accepted() -> None:
    spec = schedule(
        ("x-lq-times", "1000000000"),
        ("x-lq-jitter", "24h"),
        ("x-lq-start", "1970-01-01T00:00:00Z"),
        ("x-lq-until", "9999-12-31T23:59:59.999Z"),
    )
    assert (spec.times, spec.jitter_ms, spec.start_at) == (10**9, DAY, 0)
    assert spec.until_at == MAX_AT  # for ever
    assert schedule(("x-lq-jitter", "0s")).jitter_ms == 0


def test_a_schedule_ends_after_it_starts() -> None:
    at = "2026-11-19T00:00:00Z"
    assert issues(lambda: schedule(("x-lq-start", at), ("x-lq-until", at))) == [
        "x-lq-until: must be after x-lq-start"
    ]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("x-lq-delay", "x-lq-jitter"),
        ("x-lq-on", "x-lq-start"),
        ("x-lq-if-exists", "updated in place"),
        ("x-lq-timezone", "is called x-lq-tz"),
        ("x-lq-cron", "is called x-lq-schedule"),
        ("x-lq-dealy", "did you mean x-lq-delay?"),
        ("x-lq-jiter", "did you mean x-lq-jitter?"),
    ],
)
def test_what_belongs_elsewhere_is_told_where(name: str, instead: str) -> None:
    (issue,) = issues(lambda: schedule((name, "callback")))
    assert issue.startswith(f"{name}: ")
    assert instead in issue


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = issues(
        lambda: schedule(("x-lq-tz", "Mars"), ("x-lq-key", "a"), ("X-Lq-Key", "a"), ("x-lq-on", ""))
    )
    assert [issue.partition(":")[0] for issue in found] == ["x-lq-tz", "x-lq-key", "x-lq-on"]


@pytest.mark.parametrize("text", ["größe".encode(), "größe".encode("latin-1")])
def test_text_is_utf8_or_latin1(text: bytes) -> None:
    spec = wire.decode_schedule(
        [(b"x-lq-schedule", b"@daily"), (b"x-lq-queue", text), (b"x-lq-key", text)], b"", NOW
    )
    assert (spec.key, spec.push.queue) == ("größe", "größe")


# A PATCH


def test_an_edit_names_only_what_changes() -> None:
    assert edit(("Content-Type", "text/plain")) == ScheduleEdit()
    assert edit(("x-lq-tz", "Asia/Tokyo"), ("x-lq-target", "https://example.com")) == ScheduleEdit(
        spec={"zone": "Asia/Tokyo"}, push={"target": "https://example.com"}
    )
    assert edit(("x-lq-schedule", "C=@hourly"), ("x-lq-queue", "r")) == ScheduleEdit(
        spec={"rule": "@hourly"}, push={"queue": "r"}
    )


def test_an_edit_with_a_body_replaces_payload_and_type() -> None:
    new = edit(("content-type", "text/plain"), body=b"new")
    assert new.push == {"payload": b"new", "content_type": "text/plain"}
    assert edit(body=b"new").push == {"payload": b"new", "content_type": None}


def test_an_empty_value_takes_away_what_is_optional() -> None:
    names = ("until", "start", "times", "jitter", "label", "expires", "target", "method")
    emptied = edit(*((f"x-lq-{name}", "") for name in (*names, "retry", "timeout", "headers")))
    assert emptied == ScheduleEdit(
        spec={"until_at": None, "start_at": None, "times": None, "jitter_ms": 0},
        push={
            "labels": (),
            "expires_ms": None,
            "target": None,
            "method": None,
            "retry": None,
            "timeout_ms": None,
            "headers": {},
        },
    )


@pytest.mark.parametrize("name", ["schedule", "queue", "tz", "misfire", "overlap", "validate"])
def test_what_a_schedule_must_have_cannot_be_taken_away(name: str) -> None:
    (issue,) = issues(lambda: edit((f"x-lq-{name}", "")))
    assert issue.startswith(f"x-lq-{name}: ")


def test_a_schedule_keeps_its_key() -> None:
    (issue,) = issues(lambda: edit(("x-lq-key", "other")))
    assert issue.startswith("x-lq-key: cannot be changed; make a schedule under the new key")


def test_every_member_of_an_edit_is_one_of_what_it_edits() -> None:
    spec = schedule(payload=b"x")
    changed = edit(
        ("x-lq-schedule", "@hourly"), ("x-lq-times", "3"), ("x-lq-label", "a"), body=b"y"
    )
    push = replace(spec.push, **changed.push)
    assert replace(spec, push=push, **changed.spec) == ScheduleSpec(
        rule="@hourly", times=3, push=Push(queue="q", payload=b"y", labels=("a",))
    )


# Queries


def test_queries_about_schedules() -> None:
    assert wire.decode_schedule_filter("queue=a%2Fb&limit=7&cursor=c") == ScheduleFilter(
        queue="a/b", limit=7, cursor="c"
    )
    assert wire.decode_next("") == wire.NextQuery(5, None)
    assert wire.decode_next("count=1000&from=2026-11-18T09:26:40.123+01:00") == wire.NextQuery(
        1000, NOW
    )
    assert wire.decode_cron("expr=*/5+*+*+*+*", NOW) == wire.CronQuery("*/5 * * * *", NOW)
    assert wire.decode_cron("expr=E%3D90s&tz=Etc/GMT+5&count=1", NOW) == wire.CronQuery(
        "E=1m30s", NOW, "Etc/GMT+5", 1
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "expr"),
        ("tz=UTC", "expr"),
        ("expr=", "expr"),
        ("expr=" + "*" * 100_000, "expr"),
        ("expr=@daily&count=0", "count"),
        ("expr=@daily&count=1001", "count"),
        ("expr=@daily&count=1000000000", "count"),
        ("expr=@daily&count=5&count=5", "count"),
        ("expr=@daily&from=1969-12-31T23:59:59Z", "from"),
        ("expr=@daily&from=0001-01-01T00:00:00Z", "from"),
        ("expr=@daily&from=now", "from"),
        ("expr=@daily&tz=", "tz"),
        ("expr=@daily&tz=../etc/passwd", "tz"),
        ("expr=@daily&tz=localtime", "tz"),
        ("expr=@daily&zone=UTC", "zone"),
        ("expr=%ff", "query"),
    ],
)
def test_a_query_that_is_refused_names_the_parameter(query: str, field: str) -> None:
    (issue,) = issues(lambda: wire.decode_cron(query, NOW))
    assert issue.startswith(f"{field}: ")


def test_a_reload_may_be_dry() -> None:
    assert wire.decode_dry("dry=1") is True
    assert wire.decode_dry("") is False


def test_listings_of_items_narrow_down_to_a_schedule() -> None:
    assert wire.decode_filter("schedule=sch_1").schedule == "sch_1"
    assert wire.decode_history_filter("schedule=sch_1").schedule == "sch_1"


@pytest.mark.parametrize("text", ["", "%0a", "%C3%A9", "x" * 65])
def test_what_can_be_no_id_of_a_schedule(text: str) -> None:
    (issue,) = issues(lambda: wire.decode_history_filter(f"schedule={text}"))
    assert issue.startswith("schedule: expected an id")


# Whatever the bytes

NAMES = st.one_of(
    st.sampled_from(
        ["schedule", "queue", "target", "tz", "key", "headers", "method", "retry", "timeout",
         "expires", "label", "validate", "times", "until", "start", "misfire", "overlap", "jitter",
         "delay", "on", "if-exists", "completion", "dealy"]
    ).map(lambda word: f"x-lq-{word}".encode()),
    st.sampled_from([b"Content-Type", b"traceparent", b"idempotency-key"]),
    st.binary(max_size=12),
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.from_regex(r"(C=|E=)?[0-9*/,LW#@?a-z -]{0,20}").map(str.encode),
    st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:00Z").map(str.encode),
    st.sampled_from([b"", b"Europe/Berlin", b"@daily", b"E=5m", b"1h", b"q", b"3"]),
)


def read_or_refused(read: Callable[[], object]) -> object:
    """What was read, or None after a refusal that can be sent."""
    try:
        return read()
    except ValidationError as error:
        refusal = document(wire.encode_error(error, "r"))
    assert refusal["type"] == "VALIDATION_ERROR"
    assert refusal["issues"]
    return None


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.binary(max_size=8))
def test_whatever_the_bytes_a_schedule_is_read_or_refused(
    headers: list[tuple[bytes, bytes]], payload: bytes
) -> None:
    read_or_refused(lambda: wire.decode_schedule(headers, payload, NOW))
    needed = [(b"x-lq-schedule", b"@daily"), (b"x-lq-queue", b"q"), *headers]
    spec = read_or_refused(lambda: wire.decode_schedule(needed, payload, NOW))
    if isinstance(spec, ScheduleSpec):
        assert spec.push.payload == payload
        assert (spec.rule, spec.push.queue) == ("@daily", "q")
    changed = read_or_refused(lambda: wire.decode_schedule_edit(headers, payload, NOW))
    if isinstance(changed, ScheduleEdit):
        push = replace(Push(queue="q", payload=b""), **changed.push)
        assert replace(ScheduleSpec(rule="@daily", push=push), **changed.spec).push is push


@given(
    st.text()
    | st.from_regex(r"(expr|tz|from|count|queue|limit)=.{0,20}(&(expr|tz|from|count)=.{0,20}){0,3}")
)
def test_whatever_the_query_it_is_read_or_refused(query: str) -> None:
    read_or_refused(lambda: wire.decode_cron(query, NOW))
    read_or_refused(lambda: wire.decode_next(query))
    read_or_refused(lambda: wire.decode_schedule_filter(query))
    read_or_refused(lambda: wire.decode_dry(query))
