"""Who may do what with schedules, and what is hidden from whom."""

from __future__ import annotations

import pytest

from .given import NIGHTLY, TARGET, make, token, without_id
from .raw import Peer

EVERYTHING = (
    "GET schedules/{id}", "GET schedules/byKey/k", "GET schedules/{id}/next",
    "GET schedules/{id}/calendar", "PATCH schedules/{id}", "PATCH schedules/byKey/k",
    "POST schedules/{id}/run", "POST schedules/{id}/pause", "POST schedules/{id}/resume",
    "DELETE schedules/{id}", "DELETE schedules/byKey/k",
)  # fmt: skip
READ = EVERYTHING[:4]


@pytest.mark.parametrize(
    ("scope", "reaches"), [("push", EVERYTHING), ("read", READ), ("admin", EVERYTHING)]
)
async def test_how_far_a_scope_reaches(api: Peer, scope: str, reaches: tuple[str, ...]) -> None:
    await api.ask("POST queues/ops/pause")
    somebody = await token(api, scope)
    for request_line in EVERYTHING:
        made = await make(api, "x-lq-key: k")
        answer = await somebody.ask(request_line.format(id=made.json["id"]))
        if request_line in reaches:
            assert answer.status in {200, 201}, request_line
        else:
            assert (answer.status, answer.json["type"]) == (403, "FORBIDDEN"), request_line
    assert (await somebody.ask("GET cron?expr=@daily")).status == 200
    assert (await somebody.ask("GET schedules")).status == (403 if scope == "push" else 200)
    made = await somebody.ask("POST schedules", *NIGHTLY)
    assert made.status == (403 if scope == "read" else 201)


async def test_what_a_limited_token_does_not_reach_is_not_there(api: Peer) -> None:
    limited = await token(api, "push", "read", queues=("mail-*",))
    for request_line in EVERYTHING:
        made = await make(api, "x-lq-key: k")
        hidden = await limited.ask(request_line.format(id=made.json["id"]))
        unknown = await limited.ask(request_line.replace("byKey/k", "byKey/x").format(id="sch_x"))
        assert hidden.status == 404, request_line
        assert without_id(hidden) == without_id(unknown)
    assert (await limited.ask("GET schedules")).json == {"items": []}
    assert (await limited.ask("GET schedules?queue=ops")).status == 403
    assert (await limited.ask("POST schedules", *NIGHTLY)).status == 403


async def test_a_limited_token_works_within_its_queues(api: Peer) -> None:
    limited = await token(api, "push", "read", queues=("mail-*",))
    mail = ("x-lq-schedule: @daily", "x-lq-queue: mail-out", TARGET, "x-lq-key: mine")
    mine = await limited.ask("POST schedules", *mail)
    assert mine.status == 201
    theirs = await make(api, "x-lq-key: theirs")
    listed = (await limited.ask("GET schedules")).json["items"]
    assert [entry["key"] for entry in listed] == ["mine"]
    # A key is one of all schedules, so another's cannot be taken over by naming one's own queue.
    taken = await limited.ask("POST schedules", *mail[:3], "x-lq-key: theirs")
    assert (taken.status, taken.json["type"]) == (409, "KEY_EXISTS")
    assert taken.json["message"] == "x-lq-key 'theirs' is taken"
    assert theirs.json["id"] not in taken.body.decode()
    assert "ops" not in taken.body.decode()
    assert (await limited.ask("PATCH schedules/byKey/mine", "x-lq-queue: ops")).status == 403
    moved = await limited.ask("PATCH schedules/byKey/mine", "x-lq-queue: mail-in")
    assert moved.json["queue"] == "mail-in"
    shown = (await api.ask(f"GET schedules/{theirs.json['id']}")).json
    assert (shown["queue"], shown["schedule"]) == ("ops", "30 2 * * *")


async def test_only_an_admin_may_skip_validation(api: Peer) -> None:
    pusher = await token(api, "push")
    refused = await pusher.ask("POST schedules", *NIGHTLY, "x-lq-validate: none")
    assert (refused.status, refused.json["type"]) == (403, "FORBIDDEN")
    await make(api, "x-lq-key: k", "x-lq-validate: none")
    where = "PATCH schedules/byKey/k"
    assert (await pusher.ask(where, "x-lq-tz: Asia/Tokyo")).status == 200
    # What an admin trusts is the endpoint, not whatever is put in its place.
    assert (await pusher.ask(where, "x-lq-target: https://example.com/evil")).status == 403
    elsewhere = ("x-lq-target: https://example.com/other", "x-lq-validate: head")
    assert (await pusher.ask(where, *elsewhere)).status == 200
    assert (await pusher.ask(where, "x-lq-validate: none")).status == 403
    assert (await api.ask(where, "x-lq-validate: none")).status == 200
