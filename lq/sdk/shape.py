"""The members that a type knows, to find those of a value that it does not.

Owns: the walk through a type beside a JSON value. Never judges values: they have been found to
fit. Where a union leaves open which of its types a value has, nothing is objected to.
"""

from __future__ import annotations

from typing import Any

from msgspec import inspect

_OBJECTS = (inspect.TypedDictType, inspect.DataclassType, inspect.StructType)


class Shape:
    """What of a JSON value a type has a place for."""

    def __init__(self, info: inspect.Type) -> None:
        self._info = info

    def unknown(self, value: object) -> str | None:
        """The path of the first member that the type does not know, as in `.to[0].nmae`."""
        return _unknown(value, self._info)


def _unknown(value: Any, info: inspect.Type) -> str | None:
    if isinstance(value, list):
        return _unknown_in_list(value, info)
    if not isinstance(value, dict):
        return None
    if isinstance(info, inspect.UnionType):
        objects = [one for one in info.types if isinstance(one, (*_OBJECTS, inspect.DictType))]
        closed = len(objects) == 1 and not any(
            isinstance(one, inspect.CustomType | inspect.AnyType) for one in info.types
        )
        return _unknown(value, objects[0]) if closed else None
    if isinstance(info, inspect.DictType):
        inside = ((f"[{key}]", one, info.value_type) for key, one in value.items())
        return _first(inside)
    if not isinstance(info, _OBJECTS):
        return None
    fields = {field.encode_name: field.type for field in info.fields}
    tag = getattr(info, "tag_field", None)
    for name in value:
        if name not in fields and name != tag:
            return f".{name}"
    return _first((f".{name}", one, fields[name]) for name, one in value.items() if name != tag)


def _unknown_in_list(value: list[Any], info: inspect.Type) -> str | None:
    if isinstance(info, inspect.UnionType):
        lists = [one for one in info.types if hasattr(one, "item_type")]
        return _unknown_in_list(value, lists[0]) if len(lists) == 1 else None
    if isinstance(info, inspect.TupleType):
        pairs = enumerate(zip(value, info.item_types, strict=False))
        return _first((f"[{at}]", one, kind) for at, (one, kind) in pairs)
    kind = getattr(info, "item_type", None)
    if kind is None:
        return None
    return _first((f"[{at}]", one, kind) for at, one in enumerate(value))


def _first(inside: Any) -> str | None:
    for place, value, info in inside:
        if (found := _unknown(value, info)) is not None:
            return f"{place}{found}"
    return None
