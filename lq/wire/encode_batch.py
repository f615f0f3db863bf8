"""What became of a batch -> JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.batch import Result
from lq.model import PushOutcome
from lq.wire.parts import one_of, to_json


class Issue(Struct):
    """One thing wrong with one field. Shape: the SDK wants both words, and the path as an array."""

    validation: str
    code: str
    path: tuple[str]
    message: str


class Refusal(Struct, omit_defaults=True):
    """Why an entry was not stored, as a push of it would have been answered."""

    type: str
    status: int
    message: str
    issues: Sequence[Issue] = ()
    hint: str | None = None


class BatchResult(Struct, omit_defaults=True):
    """What became of one entry. Shape: `index` counts from 0, `line` from 1; no `error` is well."""

    index: int
    status: int
    line: int | None = None
    id: str | None = None
    outcome: Annotated[str, one_of(*PushOutcome)] | None = None
    error: Refusal | None = None


class _Batch(Struct):
    """What a batch did: a result for each entry, in order, and how many had which."""

    results: Sequence[BatchResult]
    created: int
    replaced: int
    kept: int
    failed: int


ANSWERS: Final[Mapping[str, Any]] = {"Batch": _Batch}


def encode_batch(results: Sequence[Result]) -> bytes:
    """The results of a batch, and how many of each kind."""
    count: dict[PushOutcome | None, int] = dict.fromkeys((*PushOutcome, None), 0)
    for result in results:
        count[result.outcome] += 1
    return to_json(
        _Batch(
            batch_results(results),
            count[PushOutcome.CREATED],
            count[PushOutcome.REPLACED],
            count[PushOutcome.KEPT],
            count[None],
        )
    )


def batch_results(results: Sequence[Result]) -> list[BatchResult]:
    """The results of entries as they are answered."""
    return [_result(index, result) for index, result in enumerate(results)]


def _result(index: int, result: Result) -> BatchResult:
    refusal = result.refusal
    if refusal is None:
        status = 201 if result.outcome is PushOutcome.CREATED else 200
        return BatchResult(index, status, result.line, result.id, result.outcome)
    issues = [Issue(code, code, (path,), text) for path, text, code in refusal.issues]
    error = Refusal(refusal.type, refusal.status, refusal.message, issues, refusal.hint)
    return BatchResult(index, refusal.status, result.line, error=error)
