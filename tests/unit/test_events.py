"""Publish and subscribe."""

from __future__ import annotations

import asyncio

from lq.daemon.events import Event, Events
from lq.model import State


def event(number: int) -> Event:
    return Event(verb="push", job_id=f"job_{number}", queue="q", state=State.PENDING, at=number)


async def test_each_subscriber_hears_each_event_in_order() -> None:
    events = Events()
    with events.subscribe() as one, events.subscribe() as other:
        for number in range(3):
            events.publish(event(number))
        for subscription in (one, other):
            assert [(await anext(subscription)).at for _ in range(3)] == [0, 1, 2]


async def test_a_subscriber_waits_for_what_comes() -> None:
    events = Events()
    with events.subscribe() as subscription:
        hearing = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        assert not hearing.done()
        events.publish(event(7))
        assert (await hearing).at == 7


async def test_nobody_hears_what_was_before_or_after() -> None:
    events = Events()
    events.publish(event(1))
    with events.subscribe() as subscription:
        events.publish(event(2))
    events.publish(event(3))
    assert (await anext(subscription)).at == 2
    hearing = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    assert not hearing.done()
    hearing.cancel()


async def test_who_falls_behind_loses_the_oldest_and_can_tell() -> None:
    events = Events()
    with events.subscribe(most=3) as slow, events.subscribe() as quick:
        for number in range(10):
            events.publish(event(number))
        assert (slow.missed, quick.missed) == (7, 0)
        assert [(await anext(slow)).at for _ in range(3)] == [7, 8, 9]


async def test_a_hot_path_can_see_whether_anybody_listens() -> None:
    events = Events()
    seen = [events.wanted]
    with events.subscribe():
        seen.append(events.wanted)
        with events.subscribe():
            pass
        seen.append(events.wanted)
    seen.append(events.wanted)
    assert seen == [False, True, True, False]


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    events = Events()
    with events.subscribe() as subscription:
        hearing = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        hearing.cancel()
        events.publish(event(1))
        await asyncio.wait({hearing})
        assert (await anext(subscription)).at == 1
