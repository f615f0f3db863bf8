"""Tokens: remembered by their digest, one live one a name."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lq.daemon.store import Store
from lq.errors import Conflict
from lq.model import Scope, Token
from tests.clock import START

from .conftest import OpenStore


def token(name: str = "ci", digest: int = 1, **members: Any) -> Token:
    scopes = frozenset({Scope.PUSH, Scope.READ})
    plain = Token(name=name, digest=bytes([digest]) * 32, scopes=scopes, created_at=START)
    return replace(plain, **members)


async def test_all_members_come_back(opened: OpenStore) -> None:
    full = token(queues=("mail/*", "x"), expires_at=START + 5)
    async with opened() as store:
        await store.add_token(full)
        await store.add_token(token("a", 2))
    async with opened() as store:
        assert await store.tokens() == [token("a", 2), full]


async def test_a_name_belongs_to_one_live_token(store: Store) -> None:
    await store.add_token(token())
    with pytest.raises(Conflict, match="ci"):
        await store.add_token(token(digest=2))
    revoked = await store.revoke_token("ci", START + 7)
    assert revoked == token(revoked_at=START + 7)
    await store.add_token(token(digest=2))
    assert await store.tokens() == [revoked, token(digest=2)]


async def test_one_digest_is_one_token(store: Store) -> None:
    await store.add_token(token())
    with pytest.raises(Conflict):
        await store.add_token(token("other"))
    assert await store.tokens() == [token()]


async def test_revoke_what_is_not_live(store: Store) -> None:
    assert await store.revoke_token("ci", START) is None
    await store.add_token(token())
    await store.revoke_token("ci", START)
    assert await store.revoke_token("ci", START + 1) is None
    assert [one.revoked_at for one in await store.tokens()] == [START]


async def test_when_it_was_used(store: Store) -> None:
    await store.add_token(token())
    await store.touch_token(token().digest, START + 9)
    await store.touch_token(b"\0" * 32, START + 9)
    assert await store.tokens() == [token(used_at=START + 9)]
