"""An answer in the making: numbered, joined from any number by any number of readers."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, cast

from chatapp.chat.live import FLUSH_SECONDS, LiveAnswer


async def read(live: LiveAnswer, after: int = 0, most: int = 1000) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    async with aclosing(cast(Any, live.follow(after))) as items:
        async for item in items:
            found.append(item)
            if len(found) == most:
                break
    return found


def texts(items: list[tuple[int, str]]) -> str:
    return "".join(data for data in (json.loads(item[1]) for item in items) if isinstance(data, str))


async def test_operations_are_numbered_from_one_and_the_ending_comes_last() -> None:
    live = LiveAnswer()
    live.say("Hello")
    live.show({"t": "sources", "s": []})
    live.say(" there")
    live.end({"status": "done"})
    items = await read(live)
    assert [number for number, _ in items] == [1, 2, 3, 4]
    assert json.loads(items[-1][1]) == {"t": "done", "status": "done"}
    assert texts(items) == "Hello there"


async def test_a_reader_can_join_after_any_number() -> None:
    live = LiveAnswer()
    for word in "abcdef":
        live.say(word)
        live.flush()
    live.end({"status": "done"})
    for after in range(-2, 7):
        items = await read(live, after)
        assert [number for number, _ in items] == [*range(max(after, 0) + 1, 7), 7]
        assert texts(items) == "abcdef"[max(after, 0):]


async def test_readers_who_come_early_late_and_in_between_all_get_the_same() -> None:
    live = LiveAnswer()
    readers = [asyncio.create_task(read(live)) for _ in range(5)]
    for word in ("one ", "two ", "three "):
        live.say(word)
        live.flush()
        await asyncio.sleep(0)
        readers.append(asyncio.create_task(read(live)))
    live.end({"status": "done"})
    read_by_all = await asyncio.gather(*readers, read(live))
    assert all(items == read_by_all[0] for items in read_by_all)
    assert texts(read_by_all[0]) == "one two three "


async def test_a_reader_who_leaves_disturbs_nobody() -> None:
    live = LiveAnswer()
    leaver, stayer = asyncio.create_task(read(live)), asyncio.create_task(read(live))
    live.say("first")
    live.flush()
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.wait([leaver])
    live.say(" second")
    live.end({"status": "done"})
    assert leaver.cancelled()
    assert texts(await stayer) == "first second"


async def test_the_first_text_is_passed_on_at_once_and_later_text_is_gathered() -> None:
    live = LiveAnswer()
    live.say("now")
    assert await asyncio.wait_for(read(live, most=1), FLUSH_SECONDS / 2) == [(1, '"now"')]
    for word in (" a", " b", " c"):
        live.say(word)
    assert live.draft.operations == ['"now"']
    assert await asyncio.wait_for(read(live, 1, most=1), 5) == [(2, '" a b c"')]


async def test_a_step_comes_after_the_text_that_was_said_before_it() -> None:
    live = LiveAnswer()
    live.say("Let me look. ")
    live.show({"t": "part", "p": {"id": "s", "type": "search"}})
    assert [part["type"] for part in live.draft.parts] == ["text", "search"]


async def test_text_that_waits_at_the_end_is_not_lost() -> None:
    live = LiveAnswer()
    live.say("a")
    live.flush()
    live.say("b")
    live.end({"status": "stopped"})
    assert texts(await read(live)) == "ab"
    assert live.draft.text == "ab"
