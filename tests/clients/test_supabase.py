"""Supabase's client with the real SDK against the emulator."""

import asyncio
import uuid
from dataclasses import replace

import httpx
import pytest

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.supabase import AuthRefused, Supabase
from emulators.faults import Fault
from tests.accounts.stage import PASSWORD, Stage, sqlite_stage_fixture

__all__ = ["sqlite_stage_fixture"]

HOME = "http://127.0.0.1/"


async def code_of(stage: Stage, email: str, password: str) -> str:
    with pytest.raises(AuthRefused) as refused:
        await stage.supabase.sign_in(email, password)
    return refused.value.code


async def test_signing_in_tells_who_it_is(sqlite_stage: Stage) -> None:
    email = await sqlite_stage.person("Ada  Example")
    tokens = await sqlite_stage.supabase.sign_in(email, PASSWORD)
    assert (tokens.email, tokens.name, tokens.confirmed) == (email, "Ada Example", True)
    claims = await sqlite_stage.supabase.claims(tokens.access_token)
    assert (claims.user_id, claims.session_id, claims.email) == (tokens.user_id, tokens.session_id, email)
    assert uuid.UUID(tokens.user_id)
    assert uuid.UUID(tokens.session_id)
    assert tokens.access_token not in repr(tokens)
    assert tokens.refresh_token not in repr(tokens)


async def test_a_refusal_carries_supabases_code(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    email = await stage.person()
    assert await code_of(stage, email, "wrong horse battery") == "invalid_credentials"
    assert await code_of(stage, "nobody@example.com", PASSWORD) == "invalid_credentials"
    await stage.supabase.sign_up("new@example.com", PASSWORD, "", HOME)
    assert await code_of(stage, "new@example.com", PASSWORD) == "email_not_confirmed"
    with pytest.raises(AuthRefused) as weak:
        await stage.supabase.sign_up("weak@example.com", "short", "", HOME)
    assert (weak.value.code, weak.value.reasons, weak.value.status) == ("weak_password", ("length",), 422)
    with pytest.raises(AuthRefused) as again:
        await stage.supabase.resend("new@example.com", HOME)
    assert again.value.code == "over_email_send_rate_limit"


async def test_a_sign_up_tells_us_alone_whether_there_is_an_account(sqlite_stage: Stage) -> None:
    known = await sqlite_stage.person()
    assert (await sqlite_stage.supabase.sign_up(known, PASSWORD, "", HOME)).already_registered
    fresh = await sqlite_stage.supabase.sign_up("new@example.com", PASSWORD, "Nia", HOME)
    assert (fresh.tokens, fresh.already_registered) == (None, False)


async def test_a_refreshed_session_is_the_same_session(sqlite_stage: Stage) -> None:
    tokens = await sqlite_stage.supabase.sign_in(await sqlite_stage.person(), PASSWORD)
    fresh = await sqlite_stage.supabase.refresh(tokens.refresh_token)
    assert (fresh.session_id, fresh.user_id) == (tokens.session_id, tokens.user_id)
    assert fresh.refresh_token != tokens.refresh_token


async def test_signing_out_ends_this_session_and_no_other(sqlite_stage: Stage) -> None:
    supabase, email = sqlite_stage.supabase, await sqlite_stage.person()
    here, there = [await supabase.sign_in(email, PASSWORD) for _ in range(2)]
    await supabase.sign_out(here.refresh_token, "local")
    with pytest.raises(AuthRefused):
        await supabase.refresh(here.refresh_token)
    there = await supabase.refresh(there.refresh_token)
    await supabase.sign_out(here.refresh_token, "local")
    third = await supabase.sign_in(email, PASSWORD)
    await supabase.sign_out(third.refresh_token, "global")
    with pytest.raises(AuthRefused):
        await supabase.refresh(there.refresh_token)


async def test_a_new_password_replaces_the_old_one(sqlite_stage: Stage) -> None:
    supabase, email = sqlite_stage.supabase, await sqlite_stage.person()
    tokens = await supabase.sign_in(email, PASSWORD)
    with pytest.raises(AuthRefused) as same:
        await supabase.update_password(tokens, PASSWORD)
    assert same.value.code == "same_password"
    await supabase.update_password(tokens, "another horse battery")
    assert await code_of(sqlite_stage, email, PASSWORD) == "invalid_credentials"
    assert (await supabase.sign_in(email, "another horse battery")).user_id == tokens.user_id


async def test_operations_at_the_same_time_never_share_a_session(sqlite_stage: Stage) -> None:
    supabase = sqlite_stage.supabase
    emails = [await sqlite_stage.person() for _ in range(10)]

    async def in_and_on(email: str) -> tuple[str, str]:
        tokens = await supabase.sign_in(email, PASSWORD)
        fresh = await supabase.refresh(tokens.refresh_token)
        return tokens.email, fresh.email

    assert await asyncio.gather(*(in_and_on(email) for email in emails)) == [(email, email) for email in emails]


@pytest.mark.parametrize(
    ("kind", "ran"),
    [(Fault.DOWN, True), (Fault.SERVER_ERROR, True), (Fault.TOO_MANY_REQUESTS, False), (Fault.LOST_ANSWER, True)],
)
async def test_a_bad_moment_is_unavailable_and_says_whether_it_may_have_run(
    sqlite_stage: Stage, kind: Fault, ran: bool
) -> None:
    email = await sqlite_stage.person()
    sqlite_stage.world.faults.switch_on("supabase", kind, times=1, path="/token")
    with pytest.raises(Unavailable) as error:
        await sqlite_stage.supabase.sign_in(email, PASSWORD)
    assert error.value.may_have_run is ran
    assert error.value.retry_after_seconds == (1 if kind is Fault.TOO_MANY_REQUESTS else None)


async def test_an_answer_that_takes_too_long_is_not_waited_for(sqlite_stage: Stage) -> None:
    supabase = Supabase(sqlite_stage.settings.supabase, sqlite_stage.http, timeout_seconds=0.1)
    sqlite_stage.world.faults.switch_on("supabase", Fault.SLOW, times=1, seconds=0.3)
    with pytest.raises(Unavailable, match=r"over 0\.1 s"):
        await supabase.sign_in("a@example.com", PASSWORD)


async def test_a_server_that_is_not_there_certainly_did_nothing(sqlite_stage: Stage) -> None:
    nowhere = replace(sqlite_stage.settings.supabase, url="http://127.0.0.1:9")
    with pytest.raises(Unavailable) as error:
        await Supabase(nowhere, sqlite_stage.http).sign_in("a@example.com", PASSWORD)
    assert error.value.may_have_run is False


async def test_a_failing_hook_is_our_trouble_and_not_the_visitors(sqlite_stage: Stage) -> None:
    sqlite_stage.app.router.routes.clear()
    with pytest.raises(Unavailable):
        await sqlite_stage.supabase.sign_up("new@example.com", PASSWORD, "", HOME)


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_page_of_html_in_place_of_an_answer_is_understood_as_none(status: int, sqlite_stage: Stage) -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(status, html="<h1>Gateway</h1>"))
    async with httpx.AsyncClient(transport=page) as http:
        expected = Rejected if status == 404 else Unavailable
        with pytest.raises(expected):
            await Supabase(sqlite_stage.settings.supabase, http).sign_in("a@example.com", PASSWORD)
