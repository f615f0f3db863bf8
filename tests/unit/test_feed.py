"""The ring of what happened lately, and readers that come, fall behind and come back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lq.config import EventsConfig
from lq.daemon.events import Event, Events
from lq.daemon.feed import Feed, Gap, Reader
from lq.errors import Unavailable
from tests.clock import FakeClock


def feed_of(remember: int = 100, subscribers: int = 10) -> tuple[Events, Feed]:
    """A feed, and what is published to it."""
    events = Events()
    config = EventsConfig(remember=remember, subscribers=subscribers)
    return events, Feed(events, FakeClock(), config, "0123abcd")


def publish(events: Events, number: int) -> None:
    events.publish(Event(verb="pause", queue="q", at=number))


def heard(reader: Reader) -> Iterator[int | Gap]:
    """All that a reader is given now: its events, and what it is told is missing."""
    while True:
        entries, gap = reader.take()
        if gap is not None:
            yield gap
        yield from (entry.event.at for entry in entries)
        if not entries:
            return


async def test_a_reader_hears_what_happens_after_it_came() -> None:
    events, feed = feed_of()
    publish(events, 1)
    with feed.reader(None, counted=True) as reader:
        publish(events, 2)
        assert list(heard(reader)) == [2]
        with feed.reader(None, counted=True) as other:
            publish(events, 3)
            assert list(heard(other)) == [3]
        assert list(heard(reader)) == [3]


async def test_who_is_too_slow_is_told_once_where_it_is() -> None:
    events, feed = feed_of(remember=10)
    with feed.reader(None, counted=True) as reader:
        for number in range(25):
            publish(events, number)
        assert list(heard(reader)) == [Gap.OVERRUN, *range(15, 25)]
        publish(events, 25)
        assert list(heard(reader)) == [25]


@given(
    remember=st.integers(1, 30),
    before=st.integers(0, 60),
    after=st.integers(0, 60),
    seen=st.integers(0, 60),
)
async def test_who_comes_back_hears_each_once_or_is_told(
    remember: int, before: int, after: int, seen: int
) -> None:
    """Whatever was there when it broke off, and however much came since."""
    events, feed = feed_of(remember)
    with feed.reader(None, counted=False) as reader:
        place = feed.mark()
        numbers = {}
        for number in range(before):
            publish(events, number)
            for entry in reader.take()[0]:
                numbers[entry.event.at] = feed.id_of(entry.number)
        last = min(seen, before) - 1
        for number in range(before, before + after):
            publish(events, number)
    total = before + after
    with feed.reader(numbers.get(last, place), counted=False) as again:
        found = list(heard(again))
    if total - (last + 1) > remember:
        assert found == [Gap.OVERRUN, *range(total - remember, total)]
    else:
        assert found == list(range(last + 1, total))


@pytest.mark.parametrize(
    "last_id", ["", "x", "0123abcd-", "0123abcd-ffffffffffffffff", "0123ABCD-1", "89abcdef-1"]
)
async def test_a_place_that_never_was(last_id: str) -> None:
    events, feed = feed_of()
    with feed.reader(None, counted=True):
        publish(events, 1)
        with feed.reader(last_id, counted=True) as reader:
            publish(events, 2)
            assert list(heard(reader)) == [Gap.RESTART, 2]


async def test_so_many_and_no_more() -> None:
    _, feed = feed_of(subscribers=1)
    with feed.reader(None, counted=True):
        with pytest.raises(Unavailable), feed.reader(None, counted=True):
            pass
        with feed.reader(None, counted=False):
            assert feed.subscribers == 1
    with feed.reader(None, counted=True):
        assert feed.subscribers == 1


async def test_nothing_is_remembered_before_the_first_reader() -> None:
    events, feed = feed_of()
    wanted = [events.wanted]
    place = feed.mark()
    publish(events, 1)
    with feed.reader(place, counted=True) as reader:
        assert list(heard(reader)) == [Gap.OVERRUN]
        wanted.append(events.wanted)
    feed.end()
    assert wanted == [False, True]
    assert not events.wanted


async def test_none_begins_after_the_end() -> None:
    _, feed = feed_of()
    feed.end()
    with pytest.raises(Unavailable), feed.reader(None, counted=False):
        pass
