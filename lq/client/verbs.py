"""Each verb of the API, once: what it asks, and how its answer is read.

Owns: the paths and parameters. Does no input or output: a verb is a generator that yields the
steps to ask and gets the JSON of each answer back, and both clients carry the same ones out.
A refusal is raised inside it, where it can be caught.
It imports neither asyncio nor msgspec nor rich, because `lq push` waits for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from json import dumps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Unpack
from urllib.parse import quote, urlencode

from lq.client.batch import LINES, lines_of
from lq.client.errors import ApiError, NotFoundError
from lq.client.options import (
    LEFT_OUT,
    duration,
    option_headers,
    payload_of,
)
from lq.errors import ValidationError
from lq.exchange import Request

if TYPE_CHECKING:
    from lq.client.keywords import Filter, PushOptions, QueueSettings, ScheduleOptions

Json = dict[str, Any]
T = TypeVar("T")
API = "/api/v1"
IDEMPOTENCY_KEY = "Idempotency-Key"


class ByKey(NamedTuple):
    """Names an item by its queue and key, where others name it by its id."""

    queue: str
    key: str


Ref = str | ByKey


class Step(NamedTuple):
    """One request, and what its answer is.

    Shape: `shape` is what the JSON is; a status in `answers` is one though it is no success.
    To a `keyed` request an Idempotency-Key may be added, so that it can be repeated.
    """

    request: Request
    shape: type = dict
    answers: tuple[int, ...] = ()
    keyed: bool = False


Plan = Generator[Step, Any, T]
"""A verb under way: yields steps, gets the JSON of their answers, and returns what it came to."""


class Verbs:
    """The verbs. `ref` of an item is its id, or `ByKey`; of a schedule its id (`sch_…`) or key."""

    # Items

    def push(
        self,
        queue: str,
        payload: bytes = b"",
        *,
        json: object = LEFT_OUT,
        idempotency_key: str | None = LEFT_OUT,
        **options: Unpack[PushOptions],
    ) -> Plan[Json]:
        """Add an item to a queue; `outcome` in the answer tells what its key did.

        Shape: the payload is bytes, or any value that `json` can say. A client that retries makes
        an idempotency key for each call, so that no repetition pushes twice. One that is given
        makes calls the same push for 24 hours; with None there is no key, and the call is repeated
        only where the daemon cannot have got it or has refused it for the moment.
        """
        headers = _new_headers(options)
        body = payload_of(payload, json, headers)
        path = f"{API}{_queue(queue)}/items"
        return _make(path, headers, body, idempotency_key)

    def push_batch(
        self,
        queue: str,
        entries: bytes | Iterable[Mapping[str, Any]],
        *,
        atomic: bool = False,
        idempotency_key: str | None = LEFT_OUT,
        **options: Unpack[PushOptions],
    ) -> Plan[Json]:
        """Add up to 10,000 items in one request: `results`, one for each entry, and counts.

        Shape: each entry has the arguments of a push (`json` or `payload`, and options) as a dict;
        bytes are lines of JSON as the API takes them. `options` are for entries that do not say
        otherwise. A bad entry costs only itself, unless it is `atomic`. Keys are as of a push.
        """
        if options.get("content_type") is not None:
            raise ValidationError.of("content_type", "is for each entry to say")
        headers = _new_headers(options) | {"Content-Type": LINES}
        path = f"{API}{_queue(queue)}/items/batch{_query({'atomic': 1 if atomic else None})}"
        # Under a key it is done whole or not at all, so that no result is lost with an answer.
        key = os.urandom(16).hex() if idempotency_key is LEFT_OUT else idempotency_key
        return _make(path, headers, lines_of(entries), key)

    def item(self, ref: Ref, *, payload: str | None = None) -> Plan[Json]:
        """Show an item with its payload; by key only while it is unprocessed.

        Shape: with `payload="base64"` its payload is there to the byte.
        """
        if payload is None:
            return (yield from _ask("GET", _item(ref)))
        found = yield from self._id(ref, self.item)
        return (yield from _ask("GET", f"{_item(found)}{_query({'payload': payload})}"))

    def find(self, ref: Ref) -> Plan[Json]:
        """Show an item; by key also the one that finished last, when none is unprocessed."""
        try:
            return (yield from self.item(ref))
        except NotFoundError:
            if isinstance(ref, str):
                raise
            finished = yield from self._last_finished(ref)
            if finished is None:
                raise
            return (yield from self.item(finished))

    def cancel(self, ref: Ref) -> Plan[Json]:
        """End an unprocessed item; if it runs, nothing follows its present attempt."""
        return _ask("DELETE", _item(ref))

    def edit(
        self,
        ref: Ref,
        payload: bytes = b"",
        *,
        json: object = LEFT_OUT,
        **options: Unpack[PushOptions],
    ) -> Plan[Json]:
        """Change a waiting item; what is not given stays, an empty payload too."""
        headers = option_headers(options)
        body = payload_of(payload, json, headers)
        return _ask("PATCH", _item(ref), headers, body)

    def run(self, ref: Ref) -> Plan[Json]:
        """Make a waiting item due now."""
        found = yield from self._id(ref, self.item)
        return (yield from _ask("POST", f"{_item(found)}/run"))

    def retry(
        self,
        ref: Ref,
        payload: bytes = b"",
        *,
        json: object = LEFT_OUT,
        **options: Unpack[PushOptions],
    ) -> Plan[Json]:
        """Make a finished item wait again, with a fresh budget; changed as by `edit`, if asked."""
        headers = option_headers(options)
        body = payload_of(payload, json, headers)
        found = yield from self._id(ref, self.find)
        return (yield from _ask("POST", f"{_item(found)}/retry", headers, body))

    def attempts(self, ref: Ref) -> Plan[list[Json]]:
        """List what is remembered of each attempt, oldest first."""
        found = yield from self._id(ref, self.find)
        answer = yield from _ask("GET", f"{_item(found)}/attempts")
        return list(answer["attempts"])

    def why(self, ref: Ref) -> Plan[Json]:
        """Explain what holds an item, until when, and when it may start."""
        found = yield from self._id(ref, self.find)
        return (yield from _ask("GET", f"{_item(found)}/why"))

    def logs(
        self,
        ref: Ref,
        *,
        attempt: int | None = None,
        offset: int = 0,
        wait: str | None = None,
    ) -> Plan[Json]:
        """Show what a scriptlet has written from an offset on, of its last attempt by default.

        Shape: `log` is text, or base64 where `logEncoding` says so; the next part begins at
        `offset`, and none will come once `running` is false. `wait` ("20s", at most 30) is how long
        to wait for more.
        """
        found = yield from self._id(ref, self.find)
        query = _query({"attempt": attempt, "offset": offset, "wait": wait})
        return (yield from _ask("GET", f"{_item(found)}/logs{query}"))

    def items(
        self,
        queue: str | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        **wanted: Unpack[Filter],
    ) -> Plan[Json]:
        """List a page of unfinished items: `items`, and the `cursor` of the next page.

        Shape: a page may be short, or empty, and yet have a cursor.
        """
        base = "" if queue is None else _queue(queue)
        query = _query({**_words(wanted), "limit": limit, "cursor": cursor})
        return _ask("GET", f"{API}{base}/items{query}")

    def history(
        self,
        *,
        queue: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        **wanted: Unpack[Filter],
    ) -> Plan[Json]:
        """List a page of finished items, newest first: `items`, and the `cursor` of the next.

        Shape: a page may be short, or empty, and yet have a cursor.
        """
        query = _query({"queue": queue, **_words(wanted), "limit": limit, "cursor": cursor})
        return _ask("GET", f"{API}/history{query}")

    def failures(
        self,
        *,
        queue: str | None = None,
        target: str | None = None,
        error: str | None = None,
        fingerprint: str | None = None,
        since: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Plan[Json]:
        """List a page of kinds of `failures`, the last seen first, and the `cursor` of the next."""
        wanted = {
            **{"queue": queue, "target": target, "error": error, "fingerprint": fingerprint},
            **{"from": since, "limit": limit, "cursor": cursor},
        }
        return _ask("GET", f"{API}/failures{_query(wanted)}")

    # Many items at once. Each asks until nothing is left, and adds the answers up. Without any
    # filter nothing is meant, unless `everything` says so. `dry` only counts: `matched`.

    def replay(
        self,
        *,
        queue: str | None = None,
        rate: str | None = None,
        dry: bool = False,
        everything: bool = False,
        **wanted: Unpack[Filter],
    ) -> Plan[Json]:
        """Make finished items wait again, newest first, due at a rate ("5/s") or at once.

        Shape: `matched`, `replayed`, `skipped` by the reason, and `until`, the last due time.
        """
        words = {"queue": queue, **_words(wanted), "rate": rate, **_meant(dry, everything)}
        return _sweep("POST", f"{API}/history/replay", words)

    def cancel_many(
        self,
        *,
        queue: str | None = None,
        dry: bool = False,
        everything: bool = False,
        **wanted: Unpack[Filter],
    ) -> Plan[Json]:
        """Cancel unfinished items, those that run, too: `matched`, `cancelled` and `skipped`."""
        words = {"queue": queue, **_words(wanted), **_meant(dry, everything)}
        return _sweep("DELETE", f"{API}/items", words)

    def purge(self, queue: str, *, dry: bool = False, **wanted: Unpack[Filter]) -> Plan[Json]:
        """Cancel the waiting items of a queue: `matched`, `cancelled` and `skipped`."""
        words = {**_words(wanted), **_meant(dry, False)}
        return _sweep("DELETE", f"{API}{_queue(queue)}/items", words)

    # Schedules

    def create_schedule(
        self,
        rule: str,
        queue: str,
        payload: bytes = b"",
        *,
        json: object = LEFT_OUT,
        idempotency_key: str | None = LEFT_OUT,
        **options: Unpack[ScheduleOptions],
    ) -> Plan[Json]:
        """Make a schedule, or bring the one with its key to this; `outcome` tells which.

        Shape: `rule` is a cron expression, a nickname such as "@daily", or an interval ("E=90s").
        Payload and idempotency key are as of a push.
        """
        headers = {"x-lq-schedule": rule, "x-lq-queue": queue, **_new_headers(options)}
        body = payload_of(payload, json, headers)
        return _make(f"{API}/schedules", headers, body, idempotency_key)

    def schedules(
        self, *, queue: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Plan[Json]:
        """List a page of schedules, by key: `items`, and the `cursor` of the next page."""
        query = _query({"queue": queue, "limit": limit, "cursor": cursor})
        return _ask("GET", f"{API}/schedules{query}")

    def schedule(self, ref: str) -> Plan[Json]:
        """Show a schedule with its payload."""
        return _ask("GET", _schedule(ref))

    def edit_schedule(
        self,
        ref: str,
        payload: bytes = b"",
        *,
        json: object = LEFT_OUT,
        rule: str | None = None,
        queue: str | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> Plan[Json]:
        """Change a schedule; what is not given stays, an empty payload too."""
        given = {"x-lq-schedule": rule, "x-lq-queue": queue}
        headers = {name: text for name, text in given.items() if text is not None}
        headers |= option_headers(options)
        body = payload_of(payload, json, headers)
        return _ask("PATCH", _schedule(ref), headers, body)

    def delete_schedule(self, ref: str) -> Plan[Json]:
        """Forget a schedule; items it has made stay."""
        return _ask("DELETE", _schedule(ref))

    def run_schedule(self, ref: str) -> Plan[Json]:
        """Make an item of a schedule now, besides its planned ones; the answer is the item."""
        path = yield from self._by_id(ref)
        return (yield from _ask("POST", f"{path}/run"))

    def pause_schedule(self, ref: str) -> Plan[Json]:
        """Let a schedule make no items until it is resumed."""
        path = yield from self._by_id(ref)
        return (yield from _ask("POST", f"{path}/pause"))

    def resume_schedule(self, ref: str) -> Plan[Json]:
        """Let a schedule go on from now."""
        path = yield from self._by_id(ref)
        return (yield from _ask("POST", f"{path}/resume"))

    def schedule_next(
        self, ref: str, count: int | None = None, since: str | None = None
    ) -> Plan[list[str]]:
        """List the next times of a schedule, from an RFC 3339 instant or from now on."""
        query = _query({"count": count, "from": since})
        path = yield from self._by_id(ref)
        answer = yield from _ask("GET", f"{path}/next{query}")
        return list(answer["times"])

    def schedule_calendar(self, ref: str, month: str | None = None) -> Plan[Json]:
        """Count the times of a schedule in a month ("2027-03", or the present one), by day."""
        path = yield from self._by_id(ref)
        return (yield from _ask("GET", f"{path}/calendar{_query({'month': month})}"))

    def cron(
        self,
        expr: str,
        tz: str | None = None,
        since: str | None = None,
        count: int | None = None,
    ) -> Plan[Json]:
        """Tell what a rule means and when it fires, without storing it."""
        query = _query({"expr": expr, "tz": tz, "from": since, "count": count})
        return _ask("GET", f"{API}/cron{query}")

    # Queues

    def queues(self) -> Plan[list[Json]]:
        """List all queues with their counts and settings, by name."""
        return _ask_list(f"{API}/queues")

    def queue(self, name: str) -> Plan[Json]:
        """Show a queue with its counts and settings."""
        return _ask("GET", f"{API}{_queue(name)}")

    def edit_queue(self, name: str, **settings: Unpack[QueueSettings]) -> Plan[Json]:
        """Change settings of a queue, and make it if need be; None takes a setting away."""
        on_the_wire = {"paused_until": "pausedUntil", "pause_reason": "pauseReason"}
        wanted = {on_the_wire.get(name, name): value for name, value in settings.items()}
        return _ask_document("PATCH", f"{API}{_queue(name)}", wanted)

    def delete_queue(self, name: str, *, force: bool = False) -> Plan[int]:
        """Forget a queue and its settings; by force its waiting items too: how many there were."""
        path = f"{API}{_queue(name)}{_query({'force': 1 if force else None})}"
        return int((yield from _ask("DELETE", path))["cancelled"])

    def pause(self, name: str, until: str | None = None, reason: str | None = None) -> Plan[Json]:
        """Start no item of a queue until it is resumed, or an instant, or for a duration."""
        query = _query({"until": until, "reason": reason})
        return _ask("POST", f"{API}{_queue(name)}/pause{query}")

    def resume(self, name: str) -> Plan[Json]:
        """Let a paused queue go on."""
        return _ask("POST", f"{API}{_queue(name)}/resume")

    # The daemon

    def create_token(
        self,
        name: str,
        scopes: Sequence[str],
        queues: Sequence[str] = (),
        expires: str | None = None,
    ) -> Plan[Json]:
        """Make a token; the answer's `token` is the only time it is ever shown.

        Shape: `queues` are shell patterns, none means all; `expires` is an instant or a duration.
        """
        wanted: Json = {"name": name, "scopes": [*scopes], "queues": [*queues]}
        if expires is not None:
            wanted["expires"] = expires
        return _ask_document("POST", f"{API}/tokens", wanted)

    def tokens(self) -> Plan[list[Json]]:
        """List all tokens, without the tokens themselves."""
        return _ask_list(f"{API}/tokens")

    def scriptlets(self) -> Plan[list[Json]]:
        """List the scriptlets of lq.toml, each with what is at `fault` with its files."""
        return _ask_list(f"{API}/scriptlets")

    def alerts(self) -> Plan[list[Json]]:
        """List the alerts of lq.toml, with what is `wrong` by each."""
        return _ask_list(f"{API}/alerts")

    def test_alert(self, name: str) -> Plan[Json]:
        """Send a test message to the receiver of an alert: the item that brings it."""
        return _ask("POST", f"{API}/alerts/{_quoted('name', name)}/test")

    def revoke_token(self, name: str) -> Plan[Json]:
        """Make a token worthless at once."""
        return _ask("DELETE", f"{API}/tokens/{_quoted('name', name)}")

    def secret(self) -> Plan[Json]:
        """Show the signing `secret`, `webhookSecret` for Standard Webhooks, and `older` ones.

        Shape: each of `older`, if there are any, has the same two, and `until`.
        """
        return _ask("GET", f"{API}/secret")

    def rotate_secret(self, overlap_ms: int | None = None) -> Plan[Json]:
        """Make a new signing secret; the old one stays valid for the overlap, a day by default."""
        query = _query({"overlap": duration(overlap_ms)})
        return _ask("POST", f"{API}/secret/rotate{query}")

    def revoke_old_secrets(self) -> Plan[Json]:
        """Let all signing secrets but the newest retire now."""
        return _ask("POST", f"{API}/secret/revoke-old")

    def checkup(self, *, deep: bool = False) -> Plan[Json]:
        """Have lq check its database, its machine and its targets; `deep` takes long."""
        return _ask("GET", f"{API}/checkup{_query({'deep': 1 if deep else None})}")

    def endpoints(self, queue: str | None = None, limit: int | None = None) -> Plan[Json]:
        """List `endpoints`, those that need a look first, and how many are `leftOut`."""
        return _ask("GET", f"{API}/endpoints{_query({'queue': queue, 'limit': limit})}")

    def check_endpoint(self, url: str, queue: str | None = None) -> Plan[Json]:
        """Ask an endpoint now whether it knows the secret: what is known of it then."""
        wanted = {"url": url} if queue is None else {"url": url, "queue": queue}
        return _ask_document("POST", f"{API}/endpoints/check", wanted)

    def config(self) -> Plan[Json]:
        """Show the settings in force: the `file` they are from, and `tables` of them."""
        return _ask("GET", f"{API}/config")

    def attention(self) -> Plan[list[Json]]:
        """List what needs a person now, the worst first: of each `kind`, `level` and `text`."""
        return _ask_list(f"{API}/attention")

    def drain(self) -> Plan[Json]:
        """Start nothing more; what runs ends, what comes in waits: how far that is."""
        return _ask("POST", f"{API}/drain")

    def drained(self) -> Plan[Json]:
        """Tell whether lq drains, and what runs still."""
        return _ask("GET", f"{API}/drain")

    def end_drain(self) -> Plan[Json]:
        """Go on after a drain."""
        return _ask("POST", f"{API}/drain/resume")

    def reload(self, *, dry: bool = False) -> Plan[Json]:
        """Apply lq.toml as it is now, or only tell what that would change."""
        return _ask("POST", f"{API}/reload{_query({'dry': 1 if dry else None})}")

    def listen(
        self,
        name: str,
        *,
        take_over: bool = False,
        queues: Sequence[str] = (),
        targets: Sequence[str] = (),
        only_sent: bool = False,
    ) -> Plan[Json]:
        """Begin to listen: copies of calls, or the calls, can be asked for under the new `id`."""
        members = {"name": name, "takeOver": take_over, "queues": [*queues], "targets": [*targets]}
        return _ask_document("POST", f"{API}/listeners", members | {"onlySent": only_sent})

    def listeners(self) -> Plan[list[Json]]:
        """Show who listens."""
        return _ask_list(f"{API}/listeners")

    def next_call(
        self, listener: str, after: int = 0, wait_ms: int = 10_000, *, hold: bool = False
    ) -> Plan[Json]:
        """Wait for a `call` after that number; with `hold` get none, but stay there."""
        wanted = {"after": after, "wait": duration(wait_ms), "hold": 1 if hold else None}
        return _ask("GET", f"{_listener(listener)}/next{_query(wanted)}")

    def answer_call(self, listener: str, headers: Mapping[str, str], body: bytes) -> Plan[Json]:
        """Say what an application has answered; the headers are as the API has them."""
        return _ask("POST", f"{_listener(listener)}/answers", headers, body)

    def unlisten(self, listener: str) -> Plan[Json]:
        """Listen no longer."""
        return _ask("DELETE", _listener(listener))

    def send_copy(self, item_id: str, listener: str | None = None) -> Plan[Json]:
        """Send an item's call to those who listen, or to one of them: who was `sent` it."""
        path = f"{API}/items/{_quoted('id', item_id)}/copy"
        return _ask("POST", f"{path}{_query({'listener': listener})}")

    def send_sample(
        self,
        queue: str,
        payload: bytes = b"",
        listener: str | None = None,
        **options: Unpack[PushOptions],
    ) -> Plan[Json]:
        """The same of a call without an item; of the options, those that a call shows."""
        path = f"{API}{_queue(queue)}/sample{_query({'listener': listener})}"
        return _ask("POST", path, _new_headers(options), payload)

    def overview(self, limit: int | None = None) -> Plan[Json]:
        """Show `queues` with rates, up to `limit` each of what is `running` and of `schedules`."""
        return _ask("GET", f"{API}/overview{_query({'limit': limit})}")

    def activity(self, span: str = "hour", queue: str | None = None) -> Plan[Json]:
        """What happened in the last `hour`, `day` or `week`, in all queues or one, in `points`."""
        return _ask("GET", f"{API}/activity{_query({'span': span, 'queue': queue})}")

    def begin_backup(self) -> Plan[Json]:
        """Have the daemon begin to make a backup of this moment."""
        return _ask("POST", f"{API}/backup")

    def backup(self, *, wait: str | None = None) -> Plan[Json]:
        """How far the backup is; with `wait`, a duration up to 30s, once there is news."""
        return _ask("GET", f"{API}/backup{_query({'wait': wait})}")

    def backup_part(self, offset: int) -> Plan[Json]:
        """Bytes of the backup from an offset on, as base64, and where to go on."""
        return _ask("GET", f"{API}/backup/data{_query({'offset': offset})}")

    def forget_backup(self) -> Plan[Json]:
        """Have the daemon let go of the backup."""
        return _ask("DELETE", f"{API}/backup")

    def hold(self) -> Plan[Json]:
        """Whether a restore holds everything back."""
        return _ask("GET", f"{API}/hold")

    def release(self, *, skip_missed: bool = False) -> Plan[Json]:
        """Let everything start that a restore holds back."""
        query = _query({"skip-missed": 1 if skip_missed else None})
        return _ask("POST", f"{API}/release{query}")

    def panel_link(self) -> Plan[Json]:
        """Make a link that logs in to the panel once: its `url`, and `local` on that machine."""
        return _ask("POST", f"{API}/panel/links")

    def info(self) -> Plan[Json]:
        """Tell the daemon's `version` and `now`, and to an admin its `dataDir` and `pid`."""
        return _ask("GET", f"{API}/info")

    def healthz(self) -> Plan[Json]:
        """Tell whether the daemon works: `status`, and `reasons` if that is not "ok"."""
        return _ask("GET", "/healthz", answers=(503,))

    def ready(self) -> Plan[Json]:
        """Tell whether it can take items now: `status`, and `reasons` if that is not "ok"."""
        return _ask("GET", "/readyz", answers=(503,))

    def openapi(self) -> Plan[Json]:
        """Describe the API, in OpenAPI 3.1."""
        return _ask("GET", "/openapi.json")

    # Steps that several verbs take

    def _last_finished(self, ref: ByKey) -> Plan[str | None]:
        """The item with this key that finished last; None for a token that may not see history."""
        page: Json = {"items": [], "cursor": None}
        try:
            while not page["items"] and "cursor" in page:
                page = yield from self.history(
                    queue=ref.queue, key=ref.key, limit=1, cursor=page["cursor"]
                )
        except ApiError as error:
            if error.status != 403:
                raise
            return None
        return str(page["items"][0]["id"]) if page["items"] else None

    def _by_id(self, ref: str) -> Plan[str]:
        """The path of a schedule by its id, where there is none by key."""
        return _schedule(ref if _is_schedule_id(ref) else (yield from self.schedule(ref))["id"])

    def _id(self, ref: Ref, look_up: Callable[[ByKey], Plan[Json]]) -> Plan[str]:
        return ref if isinstance(ref, str) else str((yield from look_up(ref))["id"])


def _ask(
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    answers: tuple[int, ...] = (),
    keyed: bool = False,
) -> Plan[Json]:
    request = Request(method, path, headers or {}, body)
    answer: Json = yield Step(request, answers=answers, keyed=keyed)
    return answer


def _new_headers(options: PushOptions | ScheduleOptions) -> dict[str, str]:
    """The headers of something new, of which no labels need not be taken away."""
    headers = option_headers(options)
    if not options.get("labels"):
        headers.pop("x-lq-label", None)
    return headers


def _ask_list(path: str) -> Plan[list[Json]]:
    answer: list[Json] = yield Step(Request("GET", path), list)
    return answer


def _ask_document(method: str, path: str, value: Mapping[str, object]) -> Plan[Json]:
    return _ask(method, path, {"Content-Type": "application/json"}, dumps(value).encode())


def _make(path: str, headers: dict[str, str], body: bytes, key: str | None) -> Plan[Json]:
    """Ask for something new; a repetition makes no second one."""
    if key is not LEFT_OUT and key is not None:
        escaped = key.replace("\\", r"\\").replace('"', r"\"")
        headers[IDEMPOTENCY_KEY] = f'"{escaped}"'  # quoted it may hold spaces, too
    return _ask("POST", path, headers, body, keyed=key is LEFT_OUT)


def _sweep(method: str, path: str, wanted: Mapping[str, str | int | None]) -> Plan[Json]:
    """Ask for a part of what is to be done to many, until there is no more; the sum of it all."""
    total: Json = {}
    cursor: str | None = None
    while True:
        answer = yield from _ask(method, f"{path}{_query({**wanted, 'cursor': cursor})}")
        cursor = answer.pop("cursor", None)
        for reason, number in answer.pop("skipped", {}).items():
            skipped = total.setdefault("skipped", {})
            skipped[reason] = skipped.get(reason, 0) + number
        for name, value in answer.items():
            total[name] = total.get(name, 0) + value if isinstance(value, int) else value
        if cursor is None:
            return total


def _words(wanted: Filter) -> dict[str, str | int | None]:
    """A filter in the words of the wire."""
    on_the_wire = {"since": "from", "until": "to"}
    given: Mapping[str, Any] = wanted
    return {on_the_wire.get(name, name): value for name, value in given.items()}


def _meant(dry: bool, everything: bool) -> dict[str, int | None]:
    return {"dry": 1 if dry else None, "all": 1 if everything else None}


def _query(wanted: Mapping[str, str | int | None]) -> str:
    given = {name: value for name, value in wanted.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _queue(name: str) -> str:
    return f"/queues/{_quoted('queue', name)}"


def _listener(listener: str) -> str:
    return f"{API}/listeners/{_quoted('listener', listener)}"


def _item(ref: Ref) -> str:
    if isinstance(ref, str):
        return f"{API}/items/{_quoted('id', ref)}"
    return f"{API}{_queue(ref.queue)}/items/byKey/{_quoted('key', ref.key)}"


def _schedule(ref: str) -> str:
    if _is_schedule_id(ref):
        return f"{API}/schedules/{_quoted('id', ref)}"
    return f"{API}/schedules/byKey/{_quoted('key', ref)}"


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
