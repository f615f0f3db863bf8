"""`[otlp]`: where spans of attempts are sent, if anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from lq.config.doors import FILE
from lq.config.kinds import Kind, base_url_of, text_of


class Otlp(Struct, frozen=True, kw_only=True):
    """A collector that takes OTLP over HTTP. Shape: `headers_file` has a `Name: value` a line."""

    endpoint: str | None = None  # its base URL, such as "http://127.0.0.1:4318"; none sends nothing
    headers_file: Path | None = None
    service: str = "lq"


OTLP: Final[Mapping[str, Kind]] = {
    "endpoint": Kind('a URL such as "http://127.0.0.1:4318", without query', base_url_of),
    "headers_file": FILE,
    "service": Kind("a name", text_of),
}
