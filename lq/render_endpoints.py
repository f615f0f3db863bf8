"""Endpoints as a table and as details for people. Pure, as `render` is."""

from __future__ import annotations

from collections.abc import Sequence

from lq.render import Json, Table, ago, counted, moment, present, table_of


def endpoints_table(endpoints: Sequence[Json], now: int) -> Table:
    """Endpoints, those that need a look first."""
    rows = [
        (
            one["url"],
            one["state"],
            ago(one.get("since"), now),
            ago(one.get("checked"), now) or "never",
            ", ".join(one.get("queues", ())),
            _trouble(one, now),
        )
        for one in endpoints
    ]
    headings = ("URL", "STATE", "SINCE", "CHECKED", "QUEUES", "TROUBLE")
    return table_of(headings, rows)


def endpoint_details(one: Json, now: int) -> list[tuple[str, str]]:
    """What is known of one."""
    details = [
        ("url", one["url"]),
        ("headers", ", ".join(one.get("headers", ()))),
        ("state", one["state"]),
        ("since", moment(one.get("since"), now)),
        ("checked", moment(one.get("checked"), now)),
        ("next check", moment(one.get("nextCheck"), now)),
        ("trouble", _trouble(one, now)),
        ("exempt by", one.get("exemptBy")),
        ("queues", ", ".join(one.get("queues", ()))),
        ("named by", ", ".join(one.get("namedBy", ()))),
    ]
    return present(details)


def left_out(number: int) -> str:
    """Says that there are more than were asked for."""
    return f"{counted(number, 'more endpoint')}: see --limit"


def _trouble(one: Json, now: int) -> str:
    found = [one["fault"]] if "fault" in one else []
    for wait in (one.get("spared"), one.get("slowed")):
        if wait is not None:
            found.append(f"{wait['reason']}; held until {moment(wait['until'], now)}")
    return "; ".join(found)
