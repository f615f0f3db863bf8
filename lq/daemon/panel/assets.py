"""The files that pages use: scripts, the stylesheet, the icon.

Owns: the table of them, read once from the package. Nothing is looked up in a folder by a name
that somebody sent.
Invariant: a URL with the right version always means the same bytes, so that browsers need not ask
again; all files share one, so that modules find each other by relative names.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """A file, and what it is served with."""

    body: bytes
    content_type: str


class Assets:
    """All files, by their names below `/static/VERSION/`."""

    def __init__(self) -> None:
        self._table = dict(_read(files(__package__).joinpath("static"), ""))
        self._packed: dict[str, bytes] = {}
        text = b"".join(name.encode() + one.body for name, one in sorted(self._table.items()))
        self.version = hashlib.sha256(text).hexdigest()[:12]

    def url(self, name: str) -> str:
        """Where a page finds a file. Raises: KeyError when there is none of this name."""
        assert name in self._table, name
        return f"/static/{self.version}/{name}"

    def packed(self, name: str) -> bytes:
        """A file by gzip, as it goes to browsers: a third of it. Raises: KeyError."""
        if name not in self._packed:
            self._packed[name] = gzip.compress(self._table[name].body, mtime=0)
        return self._packed[name]

    def find(self, version: str, name: str) -> tuple[Asset, str] | None:
        """A file, and for how long it may be kept. Shape: of an older version none is kept."""
        found = self._table.get(name)
        if found is None:
            return None
        return found, _FOR_EVER if version == self.version else "no-cache"


def _read(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
            continue
        content_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if content_type is not None:  # licences and checksums are for whoever reads the package
            yield f"{prefix}{entry.name}", Asset(entry.read_bytes(), content_type)
