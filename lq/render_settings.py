"""Settings that are in force as text for people, in the form of lq.toml. Pure, as `render` is."""

from __future__ import annotations

from collections.abc import Sequence

from lq.render import Json, clean


def settings_text(tables: Sequence[Json]) -> str:
    """A line for each setting, with where it comes from, below the heads of their tables."""
    parts = []
    for table in tables:
        lines = [clean(table["head"])] if table["head"] else []
        lines += [_line(one) for one in table["settings"]]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(one: Json) -> str:
    origin = one["origin"] + ("; waits for a restart" if one.get("waiting") else "")
    if one.get("hidden"):
        return clean(f"# {one['key']} is set, and not shown  # {origin}")
    if "value" not in one:
        return clean(f"# {one['key']} is not set  # {origin}")
    return clean(f"{one['key']} = {one['value']}  # {origin}")
