"""Templates, and how values are written in them: times, numbers, durations, names in URLs.

Owns: the environment of the templates. Whatever they are given is text: nothing that came from
outside is ever taken for HTML.
jinja2 is loaded with the first page: a daemon whose panel nobody opens does without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from lq.daemon.panel.assets import Assets
from lq.when import format_duration, format_instant, parse_rfc3339

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


_CODE: Final = re.compile(r"`([^`]+)`")


class Pages:
    """The templates of the panel."""

    def __init__(self, assets: Assets, version: str) -> None:
        self._assets = assets
        self._version = version

    def render(self, template: str, **context: object) -> str:
        """A page's text."""
        return self._environment.get_template(template).render(**context)

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        with as_file(files(__package__).joinpath("templates")) as folder:
            environment = Environment(
                loader=FileSystemLoader(folder),
                autoescape=True,
                undefined=StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
                auto_reload=False,
            )
        environment.filters |= {
            "time": time,
            "number": number,
            "duration": duration,
            "segment": segment,
            "plural": plural,
            "sentence": sentence,
            "with_query": with_query,
        }
        environment.globals |= {"asset": self._assets.url, "version": self._version}
        return environment


def time(instant: str | int | None, form: str = "") -> Markup:
    """An instant as HTML: in UTC, until the page puts it into the viewer's own zone.

    Shape: RFC 3339 as the API writes it, or milliseconds; `form` as the page's script reads it.
    """
    from markupsafe import Markup

    if instant is None:
        return Markup('<span class="none">never</span>')
    text = format_utc(instant)
    kind = Markup(' data-form="{}"').format(form) if form else Markup("")
    return Markup('<time datetime="{}"{}>{} UTC</time>').format(
        text, kind, text[:19].replace("T", " ")
    )


def format_utc(instant: str | int) -> str:
    """An instant in UTC, to the millisecond."""
    return format_instant(instant if isinstance(instant, int) else parse_rfc3339(instant))


def number(value: float) -> str:
    """A number in groups of three, or with as many digits as say something."""
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def duration(ms: float | None) -> str:
    """A duration in its two largest units."""
    if ms is None:
        return ""
    if ms < 1000:
        return f"{round(ms)}ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f}s"
    rounded = round(ms / 1000) * 1000 if ms < 3_600_000 else round(ms / 60_000) * 60_000
    return format_duration(rounded)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def sentence(text: str) -> Markup:
    """A message as a sentence of its own, and as HTML: what stands in backticks there is code.

    Shape: what begins with an address keeps its letter.
    """
    from markupsafe import Markup, escape

    first = text[:1] if "://" in text.partition(" ")[0] else text[:1].upper()
    whole = f"{first}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")
    parts = map(escape, _CODE.split(whole))
    code = Markup("<code>{}</code>")
    return Markup("").join(
        code.format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def with_query(path: str, fields: Mapping[str, object], **more: object) -> str:
    """A path with those fields that say something."""
    said = {name: value for name, value in {**fields, **more}.items() if value not in {None, ""}}
    return f"{path}?{urlencode(said)}" if said else path


def plural(count: int, one: str, many: str = "") -> str:
    """A count and the noun that goes with it."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
