"""An orderly end of the process, in the middle of an answer."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.state.house import opened
from tests.state.wire import ROOT, tab


async def test_the_process_ends_at_once_and_keeps_what_had_arrived_of_an_answer(
    emulators: str, tmp_path: Path
) -> None:
    with opened(tmp_path, emulators) as house:
        asker = house.tenant()
        async with tab(house.url, asker.cookie) as own:
            await own.event(f"{ROOT}.chatapp___state___chat____chat.send", form={"question": "lorem 20000"})
            await own.until(lambda tab: "_redirect" in tab.seen)
            await asyncio.sleep(0.5)
            assert house.process is not None
            house.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(house.process.wait, 10)
        answer = house.belongings(asker)["Message"]
        answer = [message for message in answer if message["role"] == "assistant"]
        assert [message["status"] for message in answer] == ["interrupted"]
        assert answer[0]["text"]
        assert answer[0]["cost_nanousd"] > 0
        assert house.belongings(asker)["Hold"] == []
        assert house.belongings(asker)["Turn"] == []
        assert "Traceback" not in house.log, house.log[-6000:]
