"""Lines of a crontab switched off, because lq runs them now; and on again.

Owns: the mark that such a line begins with. Pure: bytes in, bytes out.
Invariant: `on(off(text, lines)) == text` for a text without marks.
"""

from __future__ import annotations

from collections.abc import Collection

from lq.takeover.crontab import OFF

_MARK = OFF.encode()


def off(text: bytes, lines: Collection[int]) -> bytes:
    """Comment out these lines, numbered from 1; one that is off stays as it is."""
    return b"\n".join(
        _MARK + line if number in lines and not line.startswith(_MARK) else line
        for number, line in enumerate(text.split(b"\n"), start=1)
    )


def on(text: bytes) -> bytes:
    """Take the mark off all lines."""
    return b"\n".join(line.removeprefix(_MARK) for line in text.split(b"\n"))
