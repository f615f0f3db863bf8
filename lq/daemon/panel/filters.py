"""The words that say which items are meant, as a form, a URL and a search field have them.

Owns: what people may type where the API wants an instant or an id, and how a line of search is
taken apart. What a word may be is the API's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lq.daemon.panel.visit import Visit, quoted
from lq.errors import NotFound, ValidationError
from lq.when import format_instant, parse_duration, parse_instant

WORDS: Final = (
    *("queue", "state", "key", "label", "schedule"),
    *("target", "error", "fingerprint", "from", "to"),
)
FINISHED: Final = ("FAILED", "COMPLETED", "CANCELLED")
UNFINISHED: Final = ("PENDING", "RETRY", "RUNNING")

SCHEDULE: Final = re.compile(r"sch_[0-9a-f]{32}")

_ZONE: Final = "UTC"  # of a time that names none: nobody but their browser knows the viewer's
_AGE: Final = re.compile(r" *[0-9.]+ *[A-Za-z].*")
_PIECE: Final = re.compile(rf'(?:({"|".join(WORDS)}):)?(?:"([^"]*)"|(\S+))')

Fields = dict[str, str]


async def read_fields(visit: Visit) -> Fields:
    """What the query says, as the API takes it.

    Shape: without what a form has left empty; an age is an instant, the key of a schedule its id.
    What is neither stays as it is, for the API to refuse. Raises: RequestError.
    """
    found = {name: text.strip() for name, text in visit.fields.items() if text.strip()}
    for name in ("from", "to"):
        if name in found:
            found[name] = _instant(found[name], visit.now)
    if "schedule" in found and not SCHEDULE.fullmatch(found["schedule"]):
        try:
            schedule = await visit.get(quoted("schedules", "byKey", found["schedule"]))
        except (NotFound, ValidationError):
            return found
        found["schedule"] = schedule["id"]
    return found


def filter_of(fields: Mapping[str, str]) -> Fields:
    """The words alone, in the order in which people are shown them."""
    return {name: fields[name] for name in WORDS if name in fields}


def parse_search(text: str) -> tuple[Fields, str]:
    """Take `queue:mail error:"status 500" rest` apart into words and the rest.

    Shape: a colon behind anything but a word is a part of the text, as keys may have them; so is
    what stands in quotes.
    """
    words: Fields = {}
    rest = []
    for word, in_quotes, bare in _PIECE.findall(text):
        value = in_quotes or bare
        if word:
            words[word] = value
        else:
            rest.append(value)
    if words.get("state"):
        words["state"] = words["state"].upper()
    return words, " ".join(rest)


def _instant(text: str, now: int) -> str:
    try:
        if _AGE.fullmatch(text):
            return format_instant(now - parse_duration(text))
        return format_instant(parse_instant(text, now, _ZONE))
    except ValueError:
        return text
