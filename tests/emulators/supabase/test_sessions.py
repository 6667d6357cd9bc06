import asyncio
import time

import jwt
import pytest
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import AuthApiError
from supabase_auth.types import Session

from emulators.store import Store
from emulators.supabase.tokens import Signer
from tests.emulators.supabase.conftest import PASSWORD, Server

EMAIL = "ada@example.com"


async def session_of(client: AsyncGoTrueClient) -> Session:
    session = await client.get_session()
    assert session is not None
    return session


async def is_alive(server: Server, session: Session) -> bool:
    """Whether the access token still works; if not, the refresh token must not either."""
    headers = {"apikey": server.world.config.keys["supabase"], "Authorization": f"Bearer {session.access_token}"}
    answer = await server.raw.get(f"{server.url}/user", headers=headers)
    if answer.status_code == 200:
        return True
    assert (answer.status_code, answer.json()["error_code"]) == (403, "session_not_found")
    assert await refused(server, session.refresh_token) == "refresh_token_not_found"
    return False


async def refused(server: Server, refresh_token: str) -> str | None:
    with pytest.raises(AuthApiError) as caught:
        await server.client().refresh_session(refresh_token)
    assert caught.value.status == 400
    return caught.value.code


async def refreshed(server: Server, refresh_token: str) -> str:
    answer = await server.client().refresh_session(refresh_token)
    assert answer.session is not None
    return answer.session.refresh_token


async def test_access_tokens_carry_the_real_claims_and_verify_with_the_published_key(server: Server) -> None:
    session = await session_of(await server.sign_up(EMAIL))
    jwks = (await server.raw.get(f"{server.url}/.well-known/jwks.json")).json()
    key = jwt.PyJWK(jwks["keys"][0])
    assert jwt.get_unverified_header(session.access_token)["kid"] == key.key_id
    claims = jwt.decode(session.access_token, key.key, ["ES256"], audience="authenticated", issuer=server.url)
    assert claims["exp"] - claims["iat"] == 3600
    assert (claims["sub"], claims["email"]) == (session.user.id, EMAIL)
    assert (claims["role"], claims["aal"], claims["is_anonymous"]) == ("authenticated", "aal1", False)
    assert [entry["method"] for entry in claims["amr"]] == ["otp"]
    assert claims["app_metadata"] == {"provider": "email", "providers": ["email"]}
    assert session.expires_at == claims["exp"]


async def test_the_sdk_verifies_a_token_locally(server: Server) -> None:
    session = await session_of(await server.sign_up(EMAIL))
    answer = await server.client().get_claims(session.access_token)
    assert answer is not None
    assert answer["claims"]["sub"] == session.user.id


async def test_tokens_verify_in_real_time_when_the_clock_was_moved_a_month(server: Server) -> None:
    server.advance(days=31)
    session = await session_of(await server.sign_up(EMAIL))
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    assert abs(claims["iat"] - time.time()) < 5
    assert (await server.client().get_user(session.access_token)) is not None


async def test_the_signing_key_survives_a_restart(server: Server) -> None:
    store = Store(server.world.config.database)
    jwks = (await server.raw.get(f"{server.url}/.well-known/jwks.json")).json()
    assert Signer(store, server.url).jwks() == jwks
    store.close()


async def test_a_wrong_password_and_an_unknown_address_are_told_alike(server: Server) -> None:
    await server.sign_up(EMAIL)
    messages = set()
    for email, password in ((EMAIL, "wrong password"), ("nobody@example.com", PASSWORD)):
        with pytest.raises(AuthApiError) as caught:
            await server.client().sign_in_with_password({"email": email, "password": password})
        messages.add((caught.value.status, caught.value.code, caught.value.message))
    assert messages == {(400, "invalid_credentials", "Invalid login credentials")}


async def test_a_refresh_token_rotates_and_the_one_before_still_gives_the_current_one(server: Server) -> None:
    first = (await session_of(await server.sign_up(EMAIL))).refresh_token
    second = await refreshed(server, first)
    assert second != first
    server.advance(minutes=5)
    assert await refreshed(server, first) == second


async def test_many_refreshes_at_once_agree_on_one_token(server: Server) -> None:
    first = (await session_of(await server.sign_up(EMAIL))).refresh_token
    assert len(set(await asyncio.gather(*(refreshed(server, first) for _ in range(5))))) == 1


async def test_an_older_token_works_within_ten_seconds_and_ends_the_session_after(server: Server) -> None:
    first = (await session_of(await server.sign_up(EMAIL))).refresh_token
    second = await refreshed(server, first)
    third = await refreshed(server, second)
    assert await refreshed(server, first) == third
    server.advance(seconds=11)
    assert await refused(server, first) == "refresh_token_already_used"
    assert await refused(server, third) == "refresh_token_not_found"


async def test_an_unknown_refresh_token_is_refused(server: Server) -> None:
    assert await refused(server, "unknown") == "refresh_token_not_found"


@pytest.mark.parametrize(
    ("scope", "survivors"), [("global", []), ("local", ["second", "third"]), ("others", ["first"])]
)
async def test_signing_out_ends_the_sessions_of_its_scope(server: Server, scope: str, survivors: list[str]) -> None:
    first = await server.sign_up(EMAIL)
    sessions = {"first": await session_of(first)}
    for name in ("second", "third"):
        client = server.client()
        await client.sign_in_with_password({"email": EMAIL, "password": PASSWORD})
        sessions[name] = await session_of(client)
    await first.sign_out({"scope": scope})  # type: ignore[typeddict-item]  # a parameter of the test
    alive = [name for name, session in sessions.items() if await is_alive(server, session)]
    assert alive == survivors


async def test_forged_tokens_are_refused(server: Server) -> None:
    session = await session_of(await server.sign_up(EMAIL))
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    for forged in (jwt.encode(claims, "a secret that is long enough for HS256", "HS256"), "no.token.atall"):
        with pytest.raises(AuthApiError) as caught:
            await server.client().get_user(forged)
        assert (caught.value.status, caught.value.code) == (403, "bad_jwt")


async def test_the_api_key_alone_is_nobody(server: Server) -> None:
    key = server.world.config.keys["supabase"]
    answer = await server.raw.get(f"{server.url}/user", headers={"apikey": key})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "bad_jwt")
