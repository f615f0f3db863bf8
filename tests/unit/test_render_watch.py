"""Events as lines, and frames of `lq top`: they fit, and nothing hostile gets through."""

from __future__ import annotations

import datetime
import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lq.render import table_text
from lq.render_events import event_line, event_text
from lq.render_top import FEW, Past, top_frame, top_tables
from lq.when import format_instant

NOW = 1_795_815_842_053
EVIL = "a\x1b]0;x\x07\u202eb\x9b2J\r\n"
LONG = "очередь/日本語のキュー名はとても長いです🎉" * 4
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def at(ago_ms: int) -> str:
    return format_instant(NOW - ago_ms)


def queue(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "pending": 0, "retry": 0, "running": 0, "failed": 0, **members}


def overview(*queues: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"now": at(0), "queues": [*queues], "running": [], "schedules": [], **members}


def run(number: int, **members: Any) -> dict[str, Any]:
    started = at(number * 1000)
    known = {"id": f"job_{number}", "queue": "mail", "target": "https://example.com/hook"}
    return {**known, "attempt": 1, "started": started, **members}


def drawn(frame: dict[str, Any], width: int, height: int | None, **how: Any) -> list[str]:
    """The lines of a frame on a terminal of that size, without colours."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(top_frame(frame, "/run/lq.sock", width=width, height=height, **how))
    return [line.rstrip() for line in captured.get().splitlines()]


BUSY = overview(
    queue("mail", pending=1204, retry=3, running=16, concurrency=16, inRate=52.3, outRate=48.1,
          oldestDue=at(134_000), failures=2),
    queue("quiet"),
    queue("held", paused=True, pending=2, oldestDue=at(99_000)),
    queue("busy", running=1, outRate=1234.5),
    queue("later", pending=1, oldestDue=at(-3_600_000)),
    queue(LONG, pending=12_345_678),
    queue(EVIL, running=2),
    running=[run(1, key="user-7", attempt=2), run(3723, queue=LONG), run(2, key=EVIL)],
    schedules=[
        {"id": "sch_1", "key": "nightly", "queue": "ops", "nextRun": at(-2_340_000)},
        {"id": "sch_2", "queue": EVIL, "nextRun": at(120_000), "overdue": True},
    ],
    reasons=["the scheduler is late"],
)  # fmt: skip


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [10, 24, 60])
@pytest.mark.parametrize("number", [0, 1, 200])
def test_a_frame_fits(width: int, height: int, number: int) -> None:
    many = [queue(f"q{n:03}", pending=n, running=n % 3) for n in range(number)]
    frame = {**BUSY, "queues": [*BUSY["queues"], *many]}
    past = Past({})
    past.note(frame)
    lines = drawn(frame, width, height, past=past, trouble="out of date: " + "x" * 300)
    assert max(map(cell_len, lines)) <= width
    assert not UNSAFE.search("".join(lines))
    if height >= 24:
        assert len(lines) <= height
        assert any(line.startswith("mail") for line in lines)


def test_what_is_in_trouble_comes_first() -> None:
    lines = drawn(BUSY, 120, 40)
    names = [line.split()[0] for line in lines[5:12]]
    assert names[0] == "mail"
    assert set(names[1:3]) == {"busy", r"a\x1b]0;x\x07\u202eb\x9b2J\r\n"}
    assert (names[3:5], names[6]) == (["held", "later"], "quiet")
    text = "\n".join(lines)
    assert re.search(r"^mail +1,204 +3 +16/16 +52\.3 +48\.1 +2m14s +2$", text, re.MULTILINE)
    assert "! the scheduler is late" in lines
    assert re.search(r"^ +1h2m +очередь", text, re.MULTILINE)
    assert re.search(r"in 39m  nightly  ops$", text, re.MULTILINE)


def test_what_is_left_out_is_counted() -> None:
    many = overview(*(queue(f"q{n:03}", pending=1) for n in range(200)))
    lines = drawn(many, 80, 24)
    shown = sum(line.startswith("q") for line in lines)
    assert shown > 10
    assert f"… and {200 - shown} more queues" in lines[-1]


def test_a_pause_is_not_late() -> None:
    held = overview(queue("held", paused=True, pending=2, oldestDue=at(99_000)))
    assert "late no" in drawn(held, 80, 24)[1]


def test_few_runs_are_drawn_and_all_are_listed() -> None:
    many = overview(queue("mail"), running=[run(n) for n in range(20)])
    assert sum("job_" in line for line in drawn(many, 80, 60)) == FEW
    assert sum(len(table.rows) for table in top_tables(many)) == 21


def test_a_curve_is_of_what_was() -> None:
    past = Past({})
    for rate in (0.0, 4.0, 8.0):
        past.note(overview(queue("mail", outRate=rate), queue("gone")))
    past.note(overview(queue("mail", outRate=8.0)))
    assert set(past.rates) == {"mail"}
    lines = drawn(overview(queue("mail", outRate=8.0)), 120, 24, past=past)
    assert lines[-1].endswith("▁▅██")


def test_tables_for_programs_cut_nothing() -> None:
    text = "\n".join(table_text(table) for table in top_tables(BUSY))
    assert LONG in text
    assert not UNSAFE.search(text)


FAIL = {
    "verb": "fail", "at": at(0), "id": "job_1", "queue": "mail", "key": "user-7",
    "state": "RETRY", "attempt": 2, "status": 500, "error": "status 500: no room",
    "nextAttempt": at(-10_000),
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (FAIL, "fail     job_1  mail (user-7)  attempt 2, status 500: no room, again in 10s"),
        ({"verb": "pause", "at": at(0), "queue": "mail"}, "pause    mail"),
        (
            {**FAIL, "verb": "push", "outcome": "replaced", "error": "x", "schedule": "sch_1"},
            "push     job_1  mail (user-7)  attempt 2, x, replaced, due in 10s, by sch_1",
        ),
        (
            {"verb": "missed", "at": at(0), "reason": "overrun"},
            "missed   some events: more has happened than the daemon keeps in mind",
        ),
        ({"verb": "missed", "at": at(0)}, "missed   some events: they are gone"),
        ({"verb": "new-verb", "at": at(0), "id": "job_1"}, "new-verb  job_1"),
    ],
)
def test_an_event_as_a_line(event: dict[str, Any], said: str) -> None:
    assert event_line(event) == f"{at(0)} {said}"
    coloured = event_text(event, datetime.UTC).plain
    assert coloured == f"{at(0)[11:23]} {said}"


def test_no_event_does_anything_to_a_terminal() -> None:
    event = {**FAIL, "queue": EVIL, "key": EVIL, "error": EVIL, "id": EVIL, "schedule": EVIL}
    for verb in ("push", "skip", "fail", EVIL):
        assert not UNSAFE.search(event_line({**event, "verb": verb}))
        assert not UNSAFE.search(event_text({**event, "verb": verb}).plain)
