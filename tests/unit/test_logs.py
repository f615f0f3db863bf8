"""Lines of the log: one for each thing, whatever is quoted."""

from __future__ import annotations

import json
import logging

import pytest

from lq.logs import JsonFormatter, TextFormatter

HOSTILE = "a\nb\rc\x1b[31md\x00e\u2028f\x85g"


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("lq.test").makeRecord(
        "lq.test", logging.WARNING, __file__, 1, message, arguments, None, extra=extra
    )
    made.created = 1_700_000_000.25
    return made


@pytest.mark.parametrize("form", [TextFormatter(), JsonFormatter()])
def test_a_line_is_one_line(form: logging.Formatter) -> None:
    line = form.format(record("queue %s failed", HOSTILE))
    assert not {"\n", "\r", "\x1b", "\x00"} & set(line)
    assert len(line.splitlines()) == 1 or isinstance(form, JsonFormatter)


def test_json_says_when_how_bad_who_and_what() -> None:
    line = json.loads(JsonFormatter().format(record("it is %d", 7, job="job_1", queue="q", ms=3)))
    assert line == {
        "ts": "2023-11-14T22:13:20.250Z", "level": "warning", "logger": "lq.test",
        "message": "it is 7", "job": "job_1", "queue": "q", "ms": 3,
    }  # fmt: skip


def test_json_keeps_what_is_quoted() -> None:
    assert json.loads(JsonFormatter().format(record("%s", HOSTILE)))["message"] == HOSTILE


def test_json_holds_an_exception() -> None:
    try:
        raise RuntimeError("why")
    except RuntimeError as error:
        info = (RuntimeError, error, error.__traceback__)
    failed = record("failed")
    failed.exc_info = info
    line = JsonFormatter().format(failed)
    assert line.count("\n") == 0
    assert "RuntimeError: why" in json.loads(line)["exception"]


def test_text_is_for_people() -> None:
    assert TextFormatter().format(record("it is %d", 7)).endswith(" WARNING it is 7")
