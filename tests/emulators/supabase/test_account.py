import pytest
from starlette.responses import Response
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from emulators.supabase import mail
from tests.emulators.supabase.conftest import PASSWORD, Server

EMAIL, NEW_EMAIL = "ada@example.com", "ada@new.example.com"


async def test_a_recovery_link_lets_its_owner_choose_a_new_password(server: Server) -> None:
    await server.sign_up(EMAIL)
    await server.client().reset_password_for_email(EMAIL, {"redirect_to": f"{server.world.config.app_url}/auth/new"})
    data = server.app.email_data
    assert data["email_action_type"] == "recovery"
    assert data["redirect_to"].endswith("/auth/new")
    client = server.client()
    answer = await client.verify_otp({"type": "recovery", "token_hash": data["token_hash"]})
    assert answer.session is not None
    await client.update_user({"password": "a new and better one"})
    with pytest.raises(AuthApiError):
        await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})
    assert await server.client().sign_in_with_password({"email": EMAIL, "password": "a new and better one"})
    assert ("POST", "/recover") in server.checked
    assert ("PUT", "/user") in server.checked


async def test_recovery_tells_nothing_of_unknown_addresses_but_limits_known_ones(server: Server) -> None:
    await server.sign_up(EMAIL)
    sent = len(server.app.payloads)
    await server.client().reset_password_for_email("nobody@example.com")
    assert len(server.app.payloads) == sent
    await server.client().reset_password_for_email(EMAIL)
    with pytest.raises(AuthApiError) as caught:
        await server.client().reset_password_for_email(EMAIL)
    assert (caught.value.status, caught.value.code) == (429, "over_email_send_rate_limit")


async def test_a_failing_hook_leaves_no_recovery_token_and_no_limit(server: Server) -> None:
    await server.sign_up(EMAIL)
    server.app.answers = [_failure()]
    with pytest.raises(AuthApiError):
        await server.client().reset_password_for_email(EMAIL)
    lost = server.app.email_data["token_hash"]
    with pytest.raises(AuthApiError):
        await server.client().verify_otp({"type": "recovery", "token_hash": lost})
    await server.client().reset_password_for_email(EMAIL)


async def test_a_new_password_ends_the_other_sessions_and_voids_links(server: Server) -> None:
    client, other = await server.sign_up(EMAIL), server.client()
    await other.sign_in_with_password({"email": EMAIL, "password": PASSWORD})
    await server.client().reset_password_for_email(EMAIL)
    await client.update_user({"password": "a new and better one"})
    assert await client.get_user() is not None
    with pytest.raises(AuthApiError) as caught:
        await other.get_user()
    assert caught.value.code == "session_not_found"
    with pytest.raises(AuthApiError) as expired:
        await server.client().verify_otp({"type": "recovery", "token_hash": server.app.email_data["token_hash"]})
    assert expired.value.code == "otp_expired"


async def test_the_same_and_a_weak_password_are_refused(server: Server) -> None:
    client = await server.sign_up(EMAIL)
    with pytest.raises(AuthApiError) as same:
        await client.update_user({"password": PASSWORD})
    assert (same.value.status, same.value.code) == (422, "same_password")
    with pytest.raises(AuthWeakPasswordError):
        await client.update_user({"password": "short"})


async def test_an_email_change_needs_both_addresses_and_its_tokens_are_crossed(server: Server) -> None:
    client = await server.sign_up(EMAIL)
    await client.update_user({"email": NEW_EMAIL})
    payload, data = server.app.payloads[-1], server.app.email_data
    assert (payload["user"]["email"], payload["user"]["new_email"]) == (EMAIL, NEW_EMAIL)
    assert data["token_hash_new"] == "pkce_" + mail.token_hash(EMAIL, data["token"])
    assert data["token_hash"] == "pkce_" + mail.token_hash(NEW_EMAIL, data["token_new"])
    first = await server.client().verify_otp({"type": "email_change", "token_hash": data["token_hash_new"]})
    assert (first.user, first.session) == (None, None)
    current = await client.get_user()
    assert current is not None
    assert current.user.email == EMAIL
    second = await server.client().verify_otp({"type": "email_change", "token_hash": data["token_hash"]})
    assert second.user is not None
    assert (second.user.email, second.user.new_email) == (NEW_EMAIL, None)
    assert await server.client().sign_in_with_password({"email": NEW_EMAIL, "password": PASSWORD})


async def test_one_link_alone_does_not_change_the_address_even_twice(server: Server) -> None:
    client = await server.sign_up(EMAIL)
    await client.update_user({"email": NEW_EMAIL})
    params = {"type": "email_change", "token_hash": server.app.email_data["token_hash"]}
    await server.client().verify_otp(params)
    with pytest.raises(AuthApiError) as caught:
        await server.client().verify_otp(params)
    assert caught.value.code == "otp_expired"


async def test_an_address_that_is_taken_cannot_be_changed_to(server: Server) -> None:
    await server.sign_up(NEW_EMAIL)
    client = await server.sign_up(EMAIL)
    with pytest.raises(AuthApiError) as caught:
        await client.update_user({"email": NEW_EMAIL})
    assert (caught.value.status, caught.value.code) == (422, "email_exists")


async def test_own_metadata_merges_and_a_null_removes(server: Server) -> None:
    client = await server.sign_up(EMAIL)
    await client.update_user({"data": {"name": "Ada", "theme": "dark"}})
    answer = await client.update_user({"data": {"theme": None}})
    assert answer.user.user_metadata["name"] == "Ada"
    assert "theme" not in answer.user.user_metadata


async def test_a_link_to_the_server_itself_redirects_with_a_code_for_the_verifier(server: Server) -> None:
    client = server.client()
    await client.sign_up({"email": EMAIL, "password": PASSWORD})
    target = f"{server.world.config.app_url}/auth/callback"
    query = {"token": server.app.email_data["token_hash"], "type": "signup", "redirect_to": target}
    answer = await server.raw.get(f"{server.url}/verify", params=query)
    location = answer.headers["location"]
    assert answer.status_code == 303
    assert location.startswith(f"{target}?code=")
    session = await client.exchange_code_for_session({"auth_code": location.split("code=")[1]})
    assert session.user is not None
    again = await server.raw.get(f"{server.url}/verify", params=query)
    assert "error_code=otp_expired" in again.headers["location"]


def _failure() -> Response:
    return Response(status_code=500)
