"""What lq says on stderr: for people, or as JSON, a line for each thing.

Owns the two forms. Never decides what is said.

Invariant: whatever a text quotes, a line is one line: control characters are escaped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Final

from lq.when import format_instant

FIELDS: Final = ("job", "queue", "attempt", "request", "status", "ms")
"""What a line of JSON may say beside its message, where it is known."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TextFormatter(logging.Formatter):
    """`2026-11-27 21:26:29,364 INFO stopped`; what follows of an exception stays many lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base class's name)
        record.message = _CONTROL.sub(_escaped, record.message)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """`{"ts": "2026-11-27T21:26:29.364Z", "level": "info", "logger": "lq.…", "message": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": format_instant(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def to_stderr(level: str, form: str) -> None:
    """Log what lq says; of libraries only warnings, since their details may quote payloads."""
    wanted = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=max(wanted, logging.WARNING), handlers=[handler])
    logging.getLogger("lq").setLevel(wanted)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
