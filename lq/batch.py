"""Many pushes in one request, and what became of each of them.

Owns: the entries of a batch as they were understood, and their results as they are answered and
kept for repetitions. Never stores anything, and names nothing on the wire.

Invariant: a batch has as many results as entries, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from lq.errors import Issue, RequestError, ValidationError
from lq.model import Idempotency, NewJob, Push, PushOutcome

MAX_ENTRIES: Final = 10_000


class Entry(Struct, frozen=True):
    """One entry as it was read: a push, or why it is none.

    Shape: `line` is where it stands in a stream of lines, from 1; an array has none.
    """

    push: Push | RequestError
    line: int | None = None


class Refusal(Struct, frozen=True, omit_defaults=True):
    """Why an entry was not stored, as a push of it would have been answered."""

    type: str
    status: int
    message: str
    issues: tuple[Issue, ...] = ()
    hint: str | None = None


class Result(Struct, frozen=True, omit_defaults=True):
    """What became of one entry: the item's id and outcome, or the refusal."""

    line: int | None = None
    id: str | None = None
    outcome: PushOutcome | None = None
    refusal: Refusal | None = None


class NewBatch(Struct, frozen=True):
    """A batch with every default resolved: what the store inserts in one transaction.

    Shape: each of `entries` is a job, or the refusal of one, with its line. An `atomic` batch is
    stored whole or not at all.
    """

    entries: tuple[tuple[NewJob | RequestError, int | None], ...]
    atomic: bool = False
    idempotency: Idempotency | None = None


class Batched(Struct, frozen=True):
    """What a batch did. Shape: one that only `repeats` an earlier one has the results of then."""

    results: tuple[Result, ...]
    repeats: bool = False


def refused(error: RequestError, line: int | None) -> Result:
    """The result of an entry that is not stored."""
    found = error.issues if isinstance(error, ValidationError) else ()
    # Entries have members where a push has headers.
    issues = tuple(issue._replace(path=issue.path.removeprefix("x-lq-")) for issue in found)
    refusal = Refusal(error.type, error.status, error.message, issues, error.hint)
    return Result(line=line, refusal=refusal)


_MOST_ISSUES: Final = 100


def refuse_whole(results: Iterable[Result]) -> ValidationError:
    """The refusal of an atomic batch for its bad entries: each issue names its entry and field."""
    issues: list[Issue] = []
    for index, result in enumerate(results):
        if result.refusal is not None:
            issues += _placed(place(index, result.line), result.refusal)
    hint = "nothing was stored; without atomic a bad entry costs only itself"
    return ValidationError(issues[:_MOST_ISSUES], hint=hint)


def place(index: int, line: int | None) -> str:
    """What people are told an entry is called: its line, or its index in the array."""
    return f"entry {index}" if line is None else f"line {line}"


def _placed(where: str, refusal: Refusal) -> list[Issue]:
    if not refusal.issues:
        return [Issue(where, refusal.message, refusal.type.lower())]
    return [Issue(f"{where}: {path}", text, code) for path, text, code in refusal.issues]
