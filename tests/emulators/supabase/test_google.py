from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from supabase_auth.errors import AuthApiError

from tests.emulators.supabase.conftest import PASSWORD, Server

EMAIL = "ada@example.com"


async def started(server: Server, client=None) -> str:  # type: ignore[no-untyped-def]
    """Click «sign in with Google»; returns the address of the consent page."""
    client = client or server.client()
    target = f"{server.world.config.app_url}/auth/callback?next=/chat"
    oauth = await client.sign_in_with_oauth({"provider": "google", "options": {"redirect_to": target}})
    answer = await server.raw.get(oauth.url)
    assert answer.status_code == 302
    return str(answer.headers["location"])


async def decided(server: Server, page: str, decision: str = "allow", email: str = EMAIL) -> httpx.URL:
    """Fill in the consent page; returns where the browser ends up in the app."""
    shown = await server.raw.get(page)
    assert "Sign in with Google" in shown.text
    form = {"state": parse_qs(urlsplit(page).query)["state"][0], "email": email, "name": "Ada", "decision": decision}
    answer = await server.raw.post(page, data=form)
    assert answer.status_code == 303
    answer = await server.raw.get(answer.headers["location"])
    assert answer.status_code == 302
    return httpx.URL(answer.headers["location"])


async def test_google_signs_a_new_visitor_up_with_a_confirmed_address(server: Server) -> None:
    client = server.client()
    arrived = await decided(server, await started(server, client))
    assert arrived.params["next"] == "/chat"
    answer = await client.exchange_code_for_session({"auth_code": arrived.params["code"]})
    assert answer.session is not None
    assert answer.user is not None
    assert answer.session.provider_token is not None
    assert answer.user.email_confirmed_at is not None
    assert answer.user.app_metadata == {"provider": "google", "providers": ["google"]}
    assert answer.user.user_metadata["full_name"] == "Ada"
    assert server.app.payloads == []
    assert ("POST", "/token") in server.checked


async def test_a_code_needs_its_verifier_and_works_once(server: Server) -> None:
    client = server.client()
    arrived = await decided(server, await started(server, client))
    params = {"auth_code": arrived.params["code"]}
    with pytest.raises(AuthApiError) as wrong:
        await server.client().exchange_code_for_session({**params, "code_verifier": "v" * 64})
    assert (wrong.value.status, wrong.value.code) == (400, "bad_code_verifier")
    with pytest.raises(AuthApiError) as none:
        await server.client().exchange_code_for_session(params)
    assert (none.value.status, none.value.code) == (400, "validation_failed")
    storage_key = f"{client._storage_key}-code-verifier"
    verifier = await client._storage.get_item(storage_key)
    await server.client().exchange_code_for_session({**params, "code_verifier": verifier})
    with pytest.raises(AuthApiError) as used:
        await server.client().exchange_code_for_session({**params, "code_verifier": verifier})
    assert (used.value.status, used.value.code) == (404, "flow_state_not_found")


async def test_a_code_expires_five_minutes_after_the_click(server: Server) -> None:
    client = server.client()
    arrived = await decided(server, await started(server, client))
    server.advance(minutes=5, seconds=1)
    with pytest.raises(AuthApiError) as caught:
        await client.exchange_code_for_session({"auth_code": arrived.params["code"]})
    assert (caught.value.status, caught.value.code) == (422, "flow_state_expired")


async def test_cancelling_leads_back_with_an_error(server: Server) -> None:
    arrived = await decided(server, await started(server), "deny")
    assert arrived.params["error"] == "access_denied"
    assert "code" not in arrived.params


async def test_a_state_works_once(server: Server) -> None:
    page = await started(server)
    await decided(server, page)
    again = await decided(server, page)
    assert again.params["error_code"] == "flow_state_already_used"


async def test_google_links_to_a_confirmed_account_with_the_same_address(server: Server) -> None:
    owner = await server.sign_up(EMAIL)
    session, client = await owner.get_session(), server.client()
    arrived = await decided(server, await started(server, client))
    answer = await client.exchange_code_for_session({"auth_code": arrived.params["code"]})
    assert session is not None
    assert answer.user is not None
    assert answer.user.id == session.user.id
    assert answer.user.app_metadata["providers"] == ["email", "google"]
    assert await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})


async def test_google_takes_an_unconfirmed_account_over_and_its_password_away(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": "a thief's password"})
    client = server.client()
    arrived = await decided(server, await started(server, client))
    answer = await client.exchange_code_for_session({"auth_code": arrived.params["code"]})
    assert answer.user is not None
    assert answer.user.app_metadata["providers"] == ["google"]
    with pytest.raises(AuthApiError):
        await server.client().sign_in_with_password({"email": EMAIL, "password": "a thief's password"})
    with pytest.raises(AuthApiError):
        await server.client().verify_otp({"type": "signup", "token_hash": server.app.email_data["token_hash"]})


async def test_the_same_google_account_comes_back_to_the_same_user(server: Server) -> None:
    users = []
    for _ in range(2):
        client = server.client()
        arrived = await decided(server, await started(server, client))
        answer = await client.exchange_code_for_session({"auth_code": arrived.params["code"]})
        assert answer.user is not None
        users.append(answer.user.id)
    assert users[0] == users[1]


async def test_other_providers_are_not_enabled(server: Server) -> None:
    oauth = await server.client().sign_in_with_oauth({"provider": "github"})
    answer = await server.raw.get(oauth.url)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")
