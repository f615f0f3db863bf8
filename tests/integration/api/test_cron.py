"""When schedules fire, over HTTP: their next times, and what a rule means."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

import pytest

from lq.daemon.api import schedules

from .given import TARGET, make
from .raw import Peer


async def test_the_next_times_of_a_schedule(api: Peer) -> None:
    made = await make(api, "x-lq-tz: Europe/Berlin")
    where = f"schedules/{made.json['id']}/next"
    times = (await api.ask(f"GET {where}")).json["times"]
    assert len(times) == 5
    assert times[0] == made.json["nextRun"]
    assert times == sorted(set(times))
    spring = (await api.ask(f"GET {where}?count=2&from=2030-03-30T12:00:00Z")).json["times"]
    assert spring == ["2030-03-31T01:00:00.000Z", "2030-04-01T00:30:00.000Z"]
    assert len((await api.ask(f"GET {where}?count=1000")).json["times"]) == 1000
    last = (await api.ask(f"GET {where}?from=9999-12-30T00:00:00Z")).json["times"]
    assert len(last) <= 5
    for query in ("count=0", "count=1001", "count=x", "from=soon", "from=1969-01-01T00:00:00Z"):
        assert (await api.ask(f"GET {where}?{query}")).issues == [query.partition("=")[0]]


async def test_a_rule_is_explained_without_storing_it(api: Peer) -> None:
    found = await api.ask(
        "GET cron?expr=30+2+*+*+*&tz=Europe/Berlin&from=2030-03-29T12:00:00Z&count=3"
    )
    document: dict[str, Any] = found.json
    assert document["times"] == [
        "2030-03-30T02:30:00.000+01:00",
        "2030-03-31T03:00:00.000+02:00",
        "2030-04-01T02:30:00.000+02:00",
    ]
    assert list(document["notes"]) == ["2030-03-31T03:00:00.000+02:00"]
    assert document["warnings"]
    assert (document["schedule"], document["timezone"]) == ("30 2 * * *", "Europe/Berlin")
    assert document["explanation"] == "at 02:30 every day"
    assert (await api.ask("GET schedules")).json == {"items": []}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "expr"),
        ("expr=", "expr"),
        ("expr=0+24+*+*+*", "expr"),
        (f"expr={'9,' * 3000}*", "expr"),
        ("expr=@daily&tz=../etc/passwd", "tz"),
        ("expr=@daily&tz=localtime", "tz"),
        ("expr=@daily&count=0", "count"),
        ("expr=@daily&count=1000000000", "count"),
        ("expr=@daily&from=0000-01-01T00:00:00Z", "from"),
        ("expr=@daily&from=-1", "from"),
        ("expr=@daily&expr=@daily", "expr"),
        ("expr=@daily&timezone=UTC", "timezone"),
    ],
)
async def test_a_question_about_a_rule_that_is_refused(api: Peer, query: str, field: str) -> None:
    assert (await api.ask(f"GET cron?{query}")).issues == [field]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Africa/Monrovia"])
@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
@pytest.mark.parametrize("rule", ["*+*+*+*+*", "@yearly", "E%3D3653d", "0+0+29+2+*/7"])
async def test_the_ends_of_time(api: Peer, rule: str, at: str, zone: str) -> None:
    answer = await api.ask(f"GET cron?expr={rule}&tz={zone}&from={at}&count=9")
    assert answer.status == 200
    assert len(answer.json["times"]) <= 9


async def test_times_end_where_four_digits_do(api: Peer) -> None:
    made = await api.ask("POST schedules", "x-lq-schedule: E=3653d", "x-lq-queue: q", TARGET)
    for path in (f"schedules/{made.json['id']}/next?", "cron?expr=E%3D3653d&"):
        times = (await api.ask(f"GET {path}count=1000&from=9200-01-01T00:00:00Z")).json["times"]
        assert len(times) in {79, 80}
        assert times[-1] < "9999"


async def test_times_are_told_for_a_thousand_years(api: Peer) -> None:
    start = "from=2000-01-01T00:00:00Z&count=1000"
    for rule in ("0+0+29+2+*/7", "E%3D3653d"):
        times = (await api.ask(f"GET cron?expr={rule}&{start}")).json["times"]
        assert 30 < len(times) < 101
        assert "2970" < times[-1] < "3003"


async def test_questions_about_far_times_leave_room_for_others(api: Peer) -> None:
    """What takes the interpreter for a while is done one at a time, and beside the loop."""
    rare = "cron?expr=0+0+29+2+*/7&tz=Europe/Berlin&count=1000"
    far = [
        asyncio.create_task(api.ask(f"GET {rare}&from={year}-01-01T00:00:00Z"))
        for year in range(2000, 6000, 250)
    ]
    at_once = []
    while not all(task.done() for task in far):
        assert (await api.ask("GET /healthz")).status == 200
        at_once.append(sum(map(_foretells, sys._current_frames().values())))
    assert max(at_once) == 1
    assert all(task.result().status == 200 for task in far)


def _foretells(frame: FrameType | None) -> bool:
    """Whether a thread is just finding out times that were asked for."""
    while frame is not None:
        if frame.f_code is schedules._explained.__code__:
            return True
        frame = frame.f_back
    return False


async def test_a_month_of_a_schedule_day_by_day(api: Peer) -> None:
    made = await make(api, "x-lq-tz: Europe/Berlin", "x-lq-times: 3")
    where = f"schedules/{made.json['id']}/calendar"
    present = (await api.ask(f"GET {where}")).json
    assert present["month"] == present["today"][:7]
    assert present["timezone"] == "Europe/Berlin"
    day = made.json["nextRun"][:10]
    found = (await api.ask(f"GET {where}?month={day[:7]}")).json
    assert found["days"][0]["count"] == 1
    assert found["days"][0]["first"][0][10:19] == "T02:30:00"
    assert (await api.ask(f"GET {where}?month=2999-01")).json["days"] == []
    for query in ("month=", "month=2027-13", "month=2027-00", "month=1969-12", "month=9998-01",
                  "month=9999-01", "month=2027-1", "month=soon", "month=2027-01&month=2027-02",
                  "mouth=2027-01"):  # fmt: skip
        assert (await api.ask(f"GET {where}?{query}")).status == 400, query


async def test_a_month_notes_what_the_clocks_do_and_counts_what_fires_each_second(
    api: Peer,
) -> None:
    made = await make(api, "x-lq-tz: Europe/Berlin")
    found = (await api.ask(f"GET schedules/{made.json['id']}/calendar?month=2030-03")).json
    assert len(found["days"]) == 31
    assert found["days"][30]["first"] == ["2030-03-31T03:00:00.000+02:00"]
    assert list(found["notes"]) == ["2030-03-31T03:00:00.000+02:00"]
    edited = await api.ask(f"PATCH schedules/{made.json['id']}", "x-lq-schedule: * * * * * *")
    assert edited.status == 200
    found = (await api.ask(f"GET schedules/{made.json['id']}/calendar?month=2030-03")).json
    assert found["days"][0]["count"] == 86_400
    assert found["days"][30]["count"] == 82_800
    assert len(found["days"][0]["first"]) == 3
