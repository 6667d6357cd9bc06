import uuid

import pytest
from supabase_auth.errors import AuthApiError

from tests.emulators.supabase.conftest import PASSWORD, Server

EMAIL = "ada@example.com"


async def test_the_secret_key_creates_lists_changes_and_deletes_users(server: Server) -> None:
    admin = server.client(secret=True).admin
    made = (await admin.create_user({"email": EMAIL, "password": PASSWORD, "email_confirm": True})).user
    assert await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})
    assert [user.id for user in await admin.list_users(page=1, per_page=50)] == [made.id]
    assert (await admin.get_user_by_id(made.id)).user.email == EMAIL
    changed = await admin.update_user_by_id(made.id, {"app_metadata": {"plan": "max"}, "email": "new@example.com"})
    assert changed.user.email == "new@example.com"
    assert changed.user.app_metadata == {"provider": "email", "providers": ["email"], "plan": "max"}
    await admin.delete_user(made.id)
    with pytest.raises(AuthApiError) as caught:
        await admin.get_user_by_id(made.id)
    assert (caught.value.status, caught.value.code) == (404, "user_not_found")
    assert {("GET", "/admin/users"), ("GET", f"/admin/users/{made.id}")} <= set(server.checked)


async def test_others_than_the_secret_key_are_no_administrators(server: Server) -> None:
    with pytest.raises(AuthApiError) as publishable:
        await server.client().admin.list_users()
    assert (publishable.value.status, publishable.value.code) == (403, "not_admin")
    session = await (await server.sign_up(EMAIL)).get_session()
    assert session is not None
    headers = {"apikey": server.world.config.keys["supabase"], "Authorization": f"Bearer {session.access_token}"}
    answer = await server.raw.get(f"{server.url}/admin/users", headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


async def test_a_banned_user_neither_signs_in_nor_goes_on(server: Server) -> None:
    client = await server.sign_up(EMAIL)
    session = await client.get_session()
    assert session is not None
    admin = server.client(secret=True).admin
    await admin.update_user_by_id(session.user.id, {"ban_duration": "24h"})
    with pytest.raises(AuthApiError) as signing_in:
        await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})
    with pytest.raises(AuthApiError) as refreshing:
        await server.client().refresh_session(session.refresh_token)
    with pytest.raises(AuthApiError) as using:
        await client.get_user()
    assert [error.value.code for error in (signing_in, refreshing, using)] == ["user_banned"] * 3
    server.advance(hours=25)
    assert await server.client().sign_in_with_password({"email": EMAIL, "password": PASSWORD})


async def test_deleting_softly_keeps_the_id_and_nothing_personal(server: Server) -> None:
    client = await server.sign_up(EMAIL)
    session = await client.get_session()
    assert session is not None
    admin = server.client(secret=True).admin
    await admin.delete_user(session.user.id, should_soft_delete=True)
    left = (await admin.get_user_by_id(session.user.id)).user
    assert left.deleted_at is not None
    assert EMAIL not in left.model_dump_json()
    with pytest.raises(AuthApiError):
        await client.get_user()
    await server.sign_up(EMAIL)


async def test_a_generated_link_signs_in_and_sends_nothing(server: Server) -> None:
    await server.sign_up(EMAIL)
    sent = len(server.app.payloads)
    admin = server.client(secret=True).admin
    link = await admin.generate_link({"type": "recovery", "email": EMAIL})
    answer = await server.client().verify_otp({"type": "recovery", "token_hash": link.properties.hashed_token})
    assert answer.session is not None
    assert len(server.app.payloads) == sent
    with pytest.raises(AuthApiError) as unknown:
        await admin.generate_link({"type": "recovery", "email": "nobody@example.com"})
    assert (unknown.value.status, unknown.value.code) == (404, "user_not_found")


async def test_an_invitation_makes_an_account_that_its_link_confirms(server: Server) -> None:
    admin = server.client(secret=True).admin
    link = await admin.generate_link({"type": "invite", "email": EMAIL, "options": {"data": {"team": "one"}}})
    assert link.user.invited_at is not None
    assert link.user.user_metadata["team"] == "one"
    answer = await server.client().verify_otp({"type": "invite", "token_hash": link.properties.hashed_token})
    assert answer.user is not None
    assert answer.user.email_confirmed_at is not None


async def test_an_id_that_is_none_is_not_found(server: Server) -> None:
    key = server.world.config.keys["supabase_secret"]
    for user_id, code in (("none", "validation_failed"), (str(uuid.uuid4()), "user_not_found")):
        answer = await server.raw.get(f"{server.url}/admin/users/{user_id}", headers={"apikey": key})
        assert (answer.status_code, answer.json()["error_code"]) == (404, code)
