import asyncio
from dataclasses import replace

import pytest
from starlette.responses import JSONResponse, Response
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from emulators.supabase import mail
from emulators.supabase.errors import AuthError
from emulators.supabase.hook import Hook
from tests.emulators.loopback import place
from tests.emulators.openapi import Contract
from tests.emulators.supabase.conftest import PASSWORD, Server

EMAIL = "ada@example.com"


async def test_a_sign_up_sends_a_link_and_gives_no_session(server: Server) -> None:
    answer = await server.client().sign_up({"email": "Ada@Example.com", "password": PASSWORD})
    assert answer.session is None
    assert answer.user is not None
    assert answer.user.email == EMAIL
    assert answer.user.email_confirmed_at is None
    assert answer.user.confirmation_sent_at is not None
    assert [identity.provider for identity in answer.user.identities or []] == ["email"]
    payload = server.app.payloads[0]
    assert payload["user"]["email"] == EMAIL
    assert payload["metadata"]["name"] == "send-email"
    data = payload["email_data"]
    assert data["email_action_type"] == "signup"
    assert data["token_hash"] == "pkce_" + mail.token_hash(EMAIL, data["token"])
    assert data["token_new"] == data["token_hash_new"] == ""
    assert ("POST", "/signup") in server.checked


async def test_the_link_of_a_sign_up_opens_a_session_once(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    params = {"type": "email", "token_hash": server.app.email_data["token_hash"]}
    answer = await server.client().verify_otp(params)
    assert answer.session is not None
    assert answer.user is not None
    assert answer.user.email_confirmed_at is not None
    assert answer.user.user_metadata["email_verified"] is True
    with pytest.raises(AuthApiError) as caught:
        await server.client().verify_otp(params)
    assert (caught.value.status, caught.value.code) == (403, "otp_expired")


async def test_the_six_digits_do_the_same_as_the_link(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    wrong = "000000" if server.app.email_data["token"] != "000000" else "000001"
    with pytest.raises(AuthApiError) as caught:
        await server.client().verify_otp({"type": "email", "email": EMAIL, "token": wrong})
    assert caught.value.code == "otp_expired"
    answer = await server.client().verify_otp(
        {"type": "email", "email": EMAIL, "token": server.app.email_data["token"]}
    )
    assert answer.session is not None


async def test_a_link_expires_after_an_hour_of_the_emulated_clock(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    server.advance(hours=1, seconds=1)
    with pytest.raises(AuthApiError) as caught:
        await server.client().verify_otp({"type": "email", "token_hash": server.app.email_data["token_hash"]})
    assert caught.value.code == "otp_expired"


async def test_a_link_of_another_kind_is_refused(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    with pytest.raises(AuthApiError) as caught:
        await server.client().verify_otp({"type": "recovery", "token_hash": server.app.email_data["token_hash"]})
    assert caught.value.code == "otp_expired"


async def test_signing_in_before_confirming_is_refused(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    with pytest.raises(AuthApiError) as caught:
        await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})
    assert (caught.value.status, caught.value.code) == (400, "email_not_confirmed")


async def test_a_repeated_sign_up_of_a_confirmed_address_looks_like_a_new_one(server: Server) -> None:
    owner = await server.sign_up(EMAIL)
    session = await owner.get_session()
    mails = len(server.app.payloads)
    answer = await server.client().sign_up({"email": EMAIL, "password": "another password", "options": {"data": {}}})
    assert answer.user is not None
    assert session is not None
    assert answer.user.identities == []
    assert answer.user.id != session.user.id
    assert len(server.app.payloads) == mails
    with pytest.raises(AuthApiError):
        await server.client().sign_in_with_password({"email": EMAIL, "password": "another password"})


async def test_a_repeated_sign_up_of_an_unconfirmed_address_sends_again_but_not_within_a_minute(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    first = server.app.email_data["token_hash"]
    with pytest.raises(AuthApiError) as caught:
        await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    assert (caught.value.status, caught.value.code) == (429, "over_email_send_rate_limit")
    server.advance(seconds=61)
    await server.client().sign_up({"email": EMAIL, "password": "a thief's password"})
    assert server.app.email_data["token_hash"] != first
    await server.client().verify_otp({"type": "signup", "token_hash": server.app.email_data["token_hash"]})
    with pytest.raises(AuthApiError):
        await server.client().sign_in_with_password({"email": EMAIL, "password": "a thief's password"})
    assert (await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})).session is not None


async def test_resending_sends_a_new_link_and_tells_nothing_of_unknown_addresses(server: Server) -> None:
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    server.advance(seconds=61)
    await server.client().resend({"type": "signup", "email": EMAIL})
    await server.client().resend({"type": "signup", "email": "nobody@example.com"})
    assert [payload["user"]["email"] for payload in server.app.payloads] == [EMAIL, EMAIL]
    answer = await server.client().verify_otp({"type": "signup", "token_hash": server.app.email_data["token_hash"]})
    assert answer.session is not None
    assert ("POST", "/resend") in server.checked


async def test_weak_and_overlong_passwords_are_refused_with_reasons(server: Server) -> None:
    with pytest.raises(AuthWeakPasswordError) as weak:
        await server.client().sign_up({"email": EMAIL, "password": "short"})
    assert (weak.value.status, weak.value.reasons) == (422, ["length"])
    with pytest.raises(AuthApiError) as long:
        await server.client().sign_up({"email": EMAIL, "password": "ü" * 37})
    assert (long.value.status, long.value.code) == (400, "validation_failed")
    await server.client().sign_up({"email": EMAIL, "password": "ü" * 36})
    assert server.app.payloads != []


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Response(status_code=500), 500, "unexpected_failure"),
        (Response(status_code=401), 500, "unexpected_failure"),
        (Response(status_code=503), 500, "unexpected_failure"),
        (Response("ok", media_type="text/plain"), 400, "hook_payload_invalid_content_type"),
        (JSONResponse({"error": {"http_code": 422, "message": "No mail to this domain"}}), 422, "unknown"),
    ],
)
async def test_a_refusing_hook_makes_the_sign_up_fail_and_leaves_nothing(
    server: Server, answer: Response, status: int, code: str
) -> None:
    server.app.answers = [answer]
    with pytest.raises(AuthApiError) as caught:
        await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    assert (caught.value.status, caught.value.code) == (status, code)
    assert await server.client(secret=True).admin.list_users() == []
    assert (await server.client().sign_up({"email": EMAIL, "password": PASSWORD})).user is not None


async def test_a_busy_hook_is_asked_three_times_with_one_uuid_and_new_webhook_ids(server: Server) -> None:
    server.app.answers = [Response(status_code=status, headers={"retry-after": "1"}) for status in (429, 503)]
    await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    assert len(set(server.app.webhook_ids)) == 3
    assert len({payload["metadata"]["uuid"] for payload in server.app.payloads}) == 1
    server.app.answers = [Response(status_code=503, headers={"retry-after": "1"}) for _ in range(3)]
    with pytest.raises(AuthApiError) as caught:
        await server.client().sign_up({"email": "bea@example.com", "password": PASSWORD})
    assert caught.value.code == "unexpected_failure"


async def test_a_slow_hook_times_the_sign_up_out(server: Server) -> None:
    server.app.delay_seconds = 2.5
    with pytest.raises(AuthApiError) as caught:
        await server.client().sign_up({"email": EMAIL, "password": PASSWORD})
    assert (caught.value.status, caught.value.code) == (422, "hook_timeout")
    assert await server.client(secret=True).admin.list_users() == []


async def test_an_absent_hook_fails_the_sign_up_after_three_attempts(server: Server) -> None:
    unused = place()
    unused.socket.close()
    config = replace(server.world.config, app_url=unused.url)
    with pytest.raises(AuthError) as caught:
        await Hook(config).send({})
    assert (caught.value.status, caught.value.code) == (422, "hook_timeout_after_retry")


async def test_two_sign_ups_at_once_make_one_account_and_one_mail(server: Server) -> None:
    request = {"email": EMAIL, "password": PASSWORD}
    results = await asyncio.gather(*(server.client().sign_up(request) for _ in range(3)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, AuthApiError)]
    assert [error.code for error in refused] == ["over_email_send_rate_limit"] * 2
    assert len(server.app.payloads) == 1
    assert len(await server.client(secret=True).admin.list_users()) == 1


async def test_redirects_lead_to_the_app_or_loopback_only(server: Server) -> None:
    site = server.world.config.app_url
    wanted = {
        "ada@example.com": (f"{site}/auth/callback?next=/x", f"{site}/auth/callback?next=/x"),
        "bea@example.com": ("https://evil.example.com/", site),
        "cid@example.com": ("javascript:alert(1)", site),
    }
    for email, (asked, expected) in wanted.items():
        options = {"email_redirect_to": asked}
        await server.client().sign_up({"email": email, "password": PASSWORD, "options": options})
        assert server.app.email_data["redirect_to"] == expected


async def test_the_gateway_wants_an_api_key(server: Server) -> None:
    none = await server.raw.get(f"{server.url}/settings")
    wrong = await server.raw.get(f"{server.url}/settings", headers={"apikey": "sb_publishable_wrong"})
    right = await server.raw.get(f"{server.url}/settings", params={"apikey": server.world.config.keys["supabase"]})
    assert (none.status_code, wrong.status_code, right.status_code) == (401, 401, 200)
    assert none.json()["message"] == "No API key found in request"
    assert right.json()["external"]["google"] is True
    assert (await server.raw.get(f"{server.url}/.well-known/jwks.json")).status_code == 200


async def test_errors_have_both_forms_of_the_api(server: Server) -> None:
    headers = {"apikey": server.world.config.keys["supabase"]}
    body = {"email": EMAIL, "password": PASSWORD}
    url = f"{server.url}/token?grant_type=password"
    old = await server.raw.post(url, json=body, headers=headers)
    new = await server.raw.post(url, json=body, headers={**headers, "X-Supabase-Api-Version": "2024-01-01"})
    message = "Invalid login credentials"
    assert old.json() == {"code": 400, "error_code": "invalid_credentials", "msg": message}
    assert "x-supabase-api-version" not in old.headers
    assert new.json() == {"code": "invalid_credentials", "message": message}
    assert new.headers["x-supabase-api-version"] == "2024-01-01"
    assert new.headers["x-sb-error-code"] == "invalid_credentials"


async def test_error_bodies_of_the_first_api_version_are_as_documented(server: Server) -> None:
    contract = Contract("supabase-auth.openapi.yaml")
    headers = {"apikey": server.world.config.keys["supabase"]}
    cases = {"/signup": {"email": EMAIL, "password": "short"}, "/recover": {"email": "not an address"}}
    for path, body in cases.items():
        answer = await server.raw.post(server.url + path, json=body, headers=headers)
        assert answer.status_code in (400, 422)
        assert contract.check_answer("POST", path, 400, answer.json())


async def test_a_browser_may_ask_from_another_origin(server: Server) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,content-type,x-supabase-api-version",
    }
    answer = await server.raw.request("OPTIONS", f"{server.url}/token", headers=headers)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_malformed_bodies_are_refused(server: Server) -> None:
    headers = {"apikey": server.world.config.keys["supabase"], "X-Supabase-Api-Version": "2024-01-01"}
    for content in (b"{", b"[]", b'{"email": 1, "password": "correct horse"}'):
        answer = await server.raw.post(f"{server.url}/signup", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")
