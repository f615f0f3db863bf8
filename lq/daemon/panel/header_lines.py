"""Headers in a text field: a "Name: value" a line."""

from __future__ import annotations

from collections.abc import Mapping


def lines_of(headers: Mapping[str, str]) -> str:
    """Headers as the field shows them."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def headers_of(text: str) -> dict[str, str]:
    """Headers as they were typed. Raises: ValueError naming the line."""
    found: dict[str, str] = {}
    seen = set()
    for number, line in enumerate(text.split("\n"), 1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon or not name:
            raise ValueError(f'line {number}: expected "Name: value"')
        if name.lower() in seen:
            raise ValueError(f"line {number}: {name} is there more than once")
        seen.add(name.lower())
        found[name] = value
    return found
