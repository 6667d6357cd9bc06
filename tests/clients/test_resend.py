"""Resend's client with the real SDK against the emulator."""

import asyncio
import socket
from dataclasses import replace

import pytest

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.resend import Resend
from emulators.faults import Fault
from tests.accounts.stage import Stage, sqlite_stage_fixture

__all__ = ["sqlite_stage_fixture"]


async def send(resend: Resend, key: str = "k-1", **changes: str) -> str:
    mail = {"sender": "Chat <a@chat.example>", "to": "b@example.com", "subject": "Hi"}
    return await resend.send(key=key, **{**mail, "html": "<p>Hi</p>", "text": "Hi", **changes})


async def inbox(stage: Stage) -> list[dict[str, object]]:
    answer = await stage.http.get(f"{stage.settings.resend.url}/_emulator/inbox")
    return list(answer.json()["data"])


async def test_a_mail_arrives_with_both_its_parts(sqlite_stage: Stage) -> None:
    sent = await send(sqlite_stage.resend)
    (mail,) = await inbox(sqlite_stage)
    assert {name: mail[name] for name in ("id", "from", "to", "subject", "html", "text")} == {
        "id": sent, "from": "Chat <a@chat.example>", "to": ["b@example.com"], "subject": "Hi", "html": "<p>Hi</p>",
        "text": "Hi",
    }


async def test_a_mail_whose_answer_was_lost_is_sent_once(sqlite_stage: Stage) -> None:
    sqlite_stage.world.faults.switch_on("resend", Fault.LOST_ANSWER, times=1)
    with pytest.raises(Unavailable) as error:
        await send(sqlite_stage.resend)
    assert error.value.may_have_run
    assert await send(sqlite_stage.resend) == await send(sqlite_stage.resend)
    assert len(await inbox(sqlite_stage)) == 1


@pytest.mark.parametrize("kind", [Fault.DOWN, Fault.SERVER_ERROR, Fault.TOO_MANY_REQUESTS])
async def test_a_bad_moment_is_unavailable(sqlite_stage: Stage, kind: Fault) -> None:
    sqlite_stage.world.faults.switch_on("resend", kind, times=1)
    with pytest.raises(Unavailable) as error:
        await send(sqlite_stage.resend)
    assert error.value.retry_after_seconds == (1 if kind is Fault.TOO_MANY_REQUESTS else None)


async def test_a_server_that_is_not_there_certainly_sent_nothing(sqlite_stage: Stage) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(Unavailable) as error:
            await send(Resend(replace(sqlite_stage.settings.resend, url=nowhere)))
    assert error.value.may_have_run is False


async def test_a_key_that_resend_does_not_know_keeps_the_mail_for_the_operator(sqlite_stage: Stage) -> None:
    with pytest.raises(Unavailable, match="invalid_api_key") as error:
        await send(Resend(replace(sqlite_stage.settings.resend, key="re_wrong")))
    assert error.value.retry_after_seconds == 300


@pytest.mark.parametrize(("changes", "status"), [({"to": "nobody"}, 422), ({"subject": "Another mail"}, 409)])
async def test_a_mail_that_can_never_be_sent_is_rejected(
    sqlite_stage: Stage, changes: dict[str, str], status: int
) -> None:
    await send(sqlite_stage.resend)
    with pytest.raises(Rejected) as error:
        await send(sqlite_stage.resend, **changes, key="k-2" if "to" in changes else "k-1")
    assert error.value.status == status


async def test_two_accounts_in_one_process_never_mix(sqlite_stage: Stage) -> None:
    right, wrong = sqlite_stage.resend, Resend(replace(sqlite_stage.settings.resend, key="re_wrong"))
    results = await asyncio.gather(
        *(send(client, f"k-{i}") for i in range(10) for client in (right, wrong)), return_exceptions=True
    )
    assert all(isinstance(result, str) for result in results[::2])
    assert all(isinstance(result, Unavailable) for result in results[1::2])
    assert len(await inbox(sqlite_stage)) == 10
