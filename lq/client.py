"""The HTTP API as Python methods, one per verb; answers are the API's JSON as plain dicts.

Owns: the paths and headers of each verb, and turning a refusal into an exception. Never
retries, and never interprets an answer: `exchange` moves the bytes, callers read the JSON.
It imports neither asyncio nor msgspec nor rich, because `lq push` waits for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlencode

from lq.errors import Issue, LqError, ValidationError
from lq.exchange import Answer, Request, UnixServer, Unreachable, UrlServer, exchange

__all__ = ["ApiError", "ByKey", "Client", "PushOptions", "ScheduleOptions", "Unreachable"]

Json = dict[str, Any]
T = TypeVar("T")


class ApiError(LqError):
    """The daemon understood the request and refused it."""

    def __init__(self, status: int, answer: Json) -> None:
        super().__init__(str(answer.get("message") or answer["type"]), hint=answer.get("hint"))
        self.type = str(answer["type"])
        self.status = status
        self.issues = tuple(_issue(issue) for issue in answer.get("issues", ()))


class ByKey(NamedTuple):
    """Names an item by its queue and key, where others name it by its id."""

    queue: str
    key: str


Ref = str | ByKey


class PushOptions(TypedDict, total=False):
    """What a push or an edit may say beyond the payload; None is the same as leaving it out.

    Shape: `on` is an RFC 3339 instant, `expires` one or a duration, `retry` a count or waits
    ("10s,1m"). Units: `delay_ms` and `timeout_ms` are milliseconds.
    """

    content_type: str | None
    target: str | None
    method: str | None
    headers: Mapping[str, str] | None
    key: str | None
    if_exists: str | None
    delay_ms: int | None
    on: str | None
    retry: str | None
    timeout_ms: int | None
    expires: str | None
    labels: Sequence[str] | None
    validate: bool | None


class ScheduleOptions(TypedDict, total=False):
    """What a schedule may say beyond rule, queue and payload; None is the same as leaving it out.

    Shape: `start` and `until` are RFC 3339 instants, `expires` is a duration, `retry` a count or
    waits ("10s,1m"). In an edit "" takes away what is optional, as do no labels and no headers.
    Units: `timeout_ms` and `jitter_ms` are milliseconds.
    """

    content_type: str | None
    target: str | None
    method: str | None
    headers: Mapping[str, str] | None
    key: str | None
    tz: str | None
    times: int | str | None
    start: str | None
    until: str | None
    misfire: str | None
    overlap: str | None
    jitter_ms: int | str | None
    retry: str | None
    timeout_ms: int | str | None
    expires: str | None
    labels: Sequence[str] | None
    validate: bool | None


class Client:
    """A connection to one daemon: at `url` with a `token`, or at its unix `socket`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        socket: str | Path | None = None,
        *,
        timeout_s: float = 30.0,
    ) -> None:
        """Raises: ValidationError when the URL is not one; TypeError without URL and socket."""
        if url is not None:
            self._server: UrlServer | UnixServer = UrlServer(url, token)
        elif socket is not None:
            self._server = UnixServer(Path(socket))
        else:
            raise TypeError("Client needs a url or a socket")
        self._timeout_s = timeout_s

    @property
    def where(self) -> str:
        """The daemon's address, for people."""
        return self._server.where

    # Items

    def push(self, queue: str, payload: bytes, **options: Unpack[PushOptions]) -> Json:
        """Add an item to a queue; `outcome` in the answer tells what its key did."""
        return self._dict("POST", f"{_queue(queue)}/items", _headers(options), payload)

    def item(self, ref: Ref) -> Json:
        """One item with its payload; by key only while it is unprocessed."""
        return self._dict("GET", _item(ref))

    def find(self, ref: Ref) -> Json:
        """Like `item`, but by key it also finds the one that finished last."""
        try:
            return self.item(ref)
        except ApiError as error:
            if error.status != 404 or isinstance(ref, str):
                raise
            finished = self._last_finished(ref)
            if finished is None:
                raise
            return self.item(finished)

    def cancel(self, ref: Ref) -> Json:
        """End an unprocessed item; if it runs, nothing follows its present attempt."""
        return self._dict("DELETE", _item(ref))

    def edit(self, ref: Ref, payload: bytes = b"", **options: Unpack[PushOptions]) -> Json:
        """Change a waiting item; what is not given stays, an empty payload too."""
        return self._dict("PATCH", _item(ref), _headers(options), payload)

    def run(self, ref: Ref) -> Json:
        """Make a waiting item due now."""
        return self._dict("POST", f"{_item(self._id(ref, self.item))}/run")

    def retry(self, ref: Ref) -> Json:
        """Make a finished item wait again, with a fresh budget."""
        return self._dict("POST", f"{_item(self._id(ref, self.find))}/retry")

    def attempts(self, ref: Ref) -> list[Json]:
        """What is remembered of each attempt, oldest first."""
        answer = self._dict("GET", f"{_item(self._id(ref, self.find))}/attempts")
        return list(answer["attempts"])

    def items(self, queue: str | None = None, **wanted: str | int | None) -> Json:
        """One page of unfinished items. Shape: `wanted` is `state`, `label`, `limit`, `cursor`."""
        base = "" if queue is None else _queue(queue)
        return self._dict("GET", f"{base}/items{_query(wanted)}")

    def history(self, **wanted: str | int | None) -> Json:
        """One page of finished items, newest first.

        Shape: `wanted` is `queue`, `state`, `key`, `label`, `schedule` (an id), `limit`, `cursor`,
        and `since` and `until` as RFC 3339 instants.
        """
        renamed = {"since": "from", "until": "to"}
        query = {renamed.get(name, name): value for name, value in wanted.items()}
        return self._dict("GET", f"/history{_query(query)}")

    # Schedules: `ref` is an id (`sch_…`) or a key

    def create_schedule(
        self, rule: str, queue: str, payload: bytes = b"", **options: Unpack[ScheduleOptions]
    ) -> Json:
        """Make a schedule, or bring the one with its key to this; `outcome` tells which.

        Shape: `rule` is a cron expression, a nickname such as "@daily", or an interval ("E=90s").
        """
        headers = {"x-lq-schedule": rule, "x-lq-queue": queue, **_schedule_headers(options)}
        if not options.get("labels"):
            headers.pop("x-lq-label", None)
        return self._dict("POST", "/schedules", headers, payload)

    def schedules(self, **wanted: str | int | None) -> Json:
        """One page of schedules, by key. Shape: `wanted` is `queue`, `limit`, `cursor`."""
        return self._dict("GET", f"/schedules{_query(wanted)}")

    def schedule(self, ref: str) -> Json:
        """One schedule with its payload."""
        return self._dict("GET", _schedule(ref))

    def edit_schedule(
        self,
        ref: str,
        payload: bytes = b"",
        *,
        rule: str | None = None,
        queue: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Json:
        """Change a schedule; what is not given stays, an empty payload too."""
        given = {"x-lq-schedule": rule, "x-lq-queue": queue}
        headers = _schedule_headers(options) | _given(given)
        return self._dict("PATCH", _schedule(ref), headers, payload)

    def delete_schedule(self, ref: str) -> Json:
        """Forget a schedule; items it has made stay."""
        return self._dict("DELETE", _schedule(ref))

    def run_schedule(self, ref: str) -> Json:
        """Make an item of a schedule now, besides its planned ones: the item."""
        return self._dict("POST", f"{self._schedule_by_id(ref)}/run")

    def pause_schedule(self, ref: str) -> Json:
        """Make no items until it is resumed."""
        return self._dict("POST", f"{self._schedule_by_id(ref)}/pause")

    def resume_schedule(self, ref: str) -> Json:
        """Go on from now."""
        return self._dict("POST", f"{self._schedule_by_id(ref)}/resume")

    def schedule_next(
        self, ref: str, count: int | None = None, since: str | None = None
    ) -> list[str]:
        """Its next times, from an RFC 3339 instant or from now on."""
        query = _query({"count": count, "from": since})
        return list(self._dict("GET", f"{self._schedule_by_id(ref)}/next{query}")["times"])

    def cron(
        self,
        expr: str,
        tz: str | None = None,
        since: str | None = None,
        count: int | None = None,
    ) -> Json:
        """What a rule means and when it fires, without storing it."""
        query = {"expr": expr, "tz": tz, "from": since, "count": count}
        return self._dict("GET", f"/cron{_query(query)}")

    # Queues

    def queues(self) -> list[Json]:
        """All queues with their counts and settings, by name."""
        return self._list("/queues")

    def queue(self, name: str) -> Json:
        """One queue."""
        return self._dict("GET", _queue(name))

    def pause(self, name: str, until: str | None = None) -> Json:
        """Start no item of a queue, until an RFC 3339 instant or until it is resumed."""
        return self._dict("POST", f"{_queue(name)}/pause{_query({'until': until})}")

    def resume(self, name: str) -> Json:
        """Let a paused queue go on."""
        return self._dict("POST", f"{_queue(name)}/resume")

    # The daemon

    def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        queues: Sequence[str] = (),
        expires: str | None = None,
    ) -> Json:
        """Make a token; the answer's `token` is the only time it is ever shown."""
        wanted: Json = {"name": name, "scopes": [*scopes], "queues": [*queues]}
        if expires is not None:
            wanted["expires"] = expires
        headers = {"Content-Type": "application/json"}
        return self._dict("POST", "/tokens", headers, json.dumps(wanted).encode())

    def tokens(self) -> list[Json]:
        """All tokens, without the tokens themselves."""
        return self._list("/tokens")

    def alerts(self) -> list[Json]:
        """The alerts of lq.toml, with what is `wrong` by each."""
        return self._list("/alerts")

    def test_alert(self, name: str) -> Json:
        """Send a test message to the receiver of an alert: the item that brings it."""
        return self._dict("POST", f"/alerts/{_quoted('name', name)}/test")

    def revoke_token(self, name: str) -> Json:
        """Make a token worthless at once."""
        return self._dict("DELETE", f"/tokens/{_quoted('name', name)}")

    def secret(self) -> Json:
        """The signing secrets: `secret`, `webhookSecret` for Standard Webhooks, and `older`.

        Shape: each of `older`, if there are any, has the same two, and `until`.
        """
        return self._dict("GET", "/secret")

    def rotate_secret(self, overlap_ms: int | None = None) -> Json:
        """Make a new signing secret; the old one stays valid for the overlap, a day by default."""
        return self._dict("POST", f"/secret/rotate{_query({'overlap': _duration(overlap_ms)})}")

    def revoke_old_secrets(self) -> Json:
        """Let all signing secrets but the newest retire now."""
        return self._dict("POST", "/secret/revoke-old")

    def reload(self, *, dry: bool = False) -> Json:
        """Apply lq.toml as it is now, or only tell what that would change."""
        return self._dict("POST", f"/reload{_query({'dry': 1 if dry else None})}")

    def info(self) -> Json:
        """The daemon's `version`, `now`, `dataDir` and `pid`."""
        return self._dict("GET", "/info")

    def ready(self) -> Json:
        """What /readyz says, whether it is 200 or 503: `status`, and `reasons` if not "ok"."""
        return self._decoded(self._answer(Request("GET", "/readyz")), dict)

    # HTTP

    def _dict(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Json:
        return self._call(Request(method, f"/api/v1{path}", headers or {}, body), dict)

    def _list(self, path: str) -> list[Json]:
        return self._call(Request("GET", f"/api/v1{path}"), list)

    def _call(self, request: Request, shape: type[T]) -> T:
        answer = self._answer(request)
        if 200 <= answer.status < 300:
            return self._decoded(answer, shape)
        refusal = self._decoded(answer, dict)
        if "type" not in refusal:
            raise self._stranger(answer)
        raise ApiError(answer.status, refusal)

    def _answer(self, request: Request) -> Answer:
        return exchange(self._server, request, self._timeout_s)

    def _decoded(self, answer: Answer, shape: type[T]) -> T:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise self._stranger(answer) from None
        if not isinstance(value, shape):
            raise self._stranger(answer)
        return value

    def _stranger(self, answer: Answer) -> Unreachable:
        said = f"{answer.status}"
        if location := answer.headers.get("location"):
            said += f" and points to {location}"
        return Unreachable(
            f"what answers at {self.where} is not lq: it said {said}",
            hint="LQ_API_URL (or --url) is the daemon's own address, without a path after it.",
        )

    def _last_finished(self, ref: ByKey) -> str | None:
        """The item with this key that finished last; None for a token that may not see history."""
        try:
            found = self.history(queue=ref.queue, key=ref.key, limit=1)["items"]
        except ApiError as error:
            if error.status != 403:
                raise
            return None
        return str(found[0]["id"]) if found else None

    def _schedule_by_id(self, ref: str) -> str:
        """The path of a schedule by its id, where there is none by key."""
        return _schedule(ref if _is_schedule_id(ref) else str(self.schedule(ref)["id"]))

    @staticmethod
    def _id(ref: Ref, look_up: Callable[[ByKey], Json]) -> str:
        return ref if isinstance(ref, str) else str(look_up(ref)["id"])


def _headers(options: PushOptions) -> dict[str, str]:
    """The push headers of protocol section 3; what is None is left out."""
    headers = options.get("headers")
    labels = options.get("labels")
    values = {
        "Content-Type": options.get("content_type"),
        "x-lq-target": options.get("target"),
        "x-lq-method": options.get("method"),
        "x-lq-headers": json.dumps(dict(headers)) if headers else None,
        "x-lq-key": options.get("key"),
        "x-lq-if-exists": options.get("if_exists"),
        "x-lq-delay": options.get("delay_ms"),
        "x-lq-on": options.get("on"),
        "x-lq-retry": options.get("retry"),
        "x-lq-timeout": _duration(options.get("timeout_ms")),
        "x-lq-expires": options.get("expires"),
        "x-lq-label": ",".join(labels) if labels else None,
        "x-lq-validate": "none" if options.get("validate") is False else None,
    }
    return _given(values)


def _schedule_headers(options: ScheduleOptions) -> dict[str, str]:
    """The headers of protocol section 5; what is None is left out, what is empty is not."""
    headers = options.get("headers")
    labels = options.get("labels")
    validate = options.get("validate")
    return _given(
        {
            "Content-Type": options.get("content_type"),
            "x-lq-target": options.get("target"),
            "x-lq-method": options.get("method"),
            "x-lq-headers": None if headers is None else json.dumps(dict(headers)),
            "x-lq-key": options.get("key"),
            "x-lq-tz": options.get("tz"),
            "x-lq-times": options.get("times"),
            "x-lq-start": options.get("start"),
            "x-lq-until": options.get("until"),
            "x-lq-misfire": options.get("misfire"),
            "x-lq-overlap": options.get("overlap"),
            "x-lq-jitter": _duration(options.get("jitter_ms")),
            "x-lq-retry": options.get("retry"),
            "x-lq-timeout": _duration(options.get("timeout_ms")),
            "x-lq-expires": options.get("expires"),
            "x-lq-label": None if labels is None else ",".join(labels),
            "x-lq-validate": None if validate is None else "head" if validate else "none",
        }
    )


def _given(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _duration(ms: int | str | None) -> str | None:
    """A duration as people write it, because a refusal quotes it; "" stays as it is."""
    if ms is None or isinstance(ms, str):
        return ms
    from lq.when import format_duration

    return format_duration(ms)


def _query(wanted: Mapping[str, str | int | None]) -> str:
    given = {name: value for name, value in wanted.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _queue(name: str) -> str:
    return f"/queues/{_quoted('queue', name)}"


def _item(ref: Ref) -> str:
    if isinstance(ref, str):
        return f"/items/{_quoted('id', ref)}"
    return f"{_queue(ref.queue)}/items/byKey/{_quoted('key', ref.key)}"


def _schedule(ref: str) -> str:
    if _is_schedule_id(ref):
        return f"/schedules/{_quoted('id', ref)}"
    return f"/schedules/byKey/{_quoted('key', ref)}"


def _is_schedule_id(ref: str) -> bool:
    # All of it, because a key may begin like an id.
    return re.fullmatch("sch_[0-9a-f]{32}", ref) is not None


def _quoted(name: str, text: str) -> str:
    """An argument percent-encoded whole.

    Raises: ValidationError naming it, when it is empty (its path would be another one's) or
    not UTF-8 text.
    """
    if not text:
        raise ValidationError.of(name, "must not be empty")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValidationError.of(name, "must be UTF-8 text") from None


def _issue(issue: Json) -> Issue:
    path = issue.get("path", "")
    name = ".".join(map(str, path)) if isinstance(path, list) else str(path)
    return Issue(name, str(issue.get("message", "")), str(issue.get("code", "invalid")))
