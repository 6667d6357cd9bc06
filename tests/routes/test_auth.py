"""The forms, over HTTP, against the emulated Supabase: what the person meets, and what an attacker does."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import func, select, update
from starlette.applications import Starlette

from chatapp.accounts import cookies
from chatapp.accounts.texts import TEXTS
from chatapp.db import now
from chatapp.models import Account, Message, Profile, ServerSession, Thread
from chatapp.routes import auth
from emulators.faults import Fault
from tests.accounts.stage import (
    PASSWORD,
    Stage,
    TestBrowser,
    path,
    query,
    sqlite_stage_fixture,
    stage_fixture,
)

__all__ = ["sqlite_stage_fixture", "stage_fixture"]


async def test_signing_up_confirming_and_signing_out_leads_a_person_through(stage: Stage) -> None:
    browser = TestBrowser(stage)
    answer = await browser.post("sign-up", email=" New@Example.com ", password=PASSWORD, name="Nia", next="/t/1")
    assert (path(answer), query(answer)) == ("/check-mail/", {"for": "signup", "next": "/t/1"})
    assert "new@example.com" not in answer.headers["location"].lower()
    assert browser.session is None
    link = stage.link("new@example.com")
    assert (link["type"], link["next"]) == ("signup", "/t/1")

    answer = await browser.post("confirm", **link)
    assert path(answer) == "/t/1"
    session = browser.session
    assert session is not None
    assert (session.email, session.name, session.is_visitor) == ("new@example.com", "Nia", False)

    answer = await browser.post("sign-out")
    assert path(answer) == "/"
    assert browser.session is None
    assert (await browser.sign_in("new@example.com")).status_code == 303
    assert browser.session is not None
    assert browser.session.account_id == session.account_id


async def test_a_confirmation_works_once(stage: Stage) -> None:
    browser, thief = TestBrowser(stage), TestBrowser(stage, "198.51.100.9")
    await browser.post("sign-up", email="a@example.com", password=PASSWORD)
    link = stage.link("a@example.com")
    await browser.post("confirm", **link)
    answer = await thief.post("confirm", **link)
    assert (path(answer), query(answer)) == ("/auth/confirm/", {"error": "otp_expired"})
    assert thief.session is None
    again = await browser.post("confirm", **link)
    assert path(again) == "/", "who is signed in already is led on"


async def test_a_confirmation_clicked_twice_at_once_makes_one_profile_and_one_session(stage: Stage) -> None:
    browsers = [TestBrowser(stage) for _ in range(2)]
    await browsers[0].post("sign-up", email="a@example.com", password=PASSWORD)
    link = stage.link("a@example.com")
    answers = await asyncio.gather(*(browser.post("confirm", **link) for browser in browsers))
    assert sorted(path(answer) for answer in answers) == ["/", "/auth/confirm/"]
    assert len([browser for browser in browsers if browser.session]) == 1
    with stage.db.reading() as session:
        assert session.exec(select(func.count()).select_from(Profile)).one() == 1
        assert session.exec(select(func.count()).select_from(Account)).one() == 1


async def test_fifty_people_signing_in_at_once_are_never_mixed_up(stage: Stage) -> None:
    emails = await asyncio.gather(*(stage.person(f"Person {i}") for i in range(50)))
    browsers = [TestBrowser(stage, f"203.0.113.{i}") for i in range(50)]
    await asyncio.gather(*(browser.sign_in(email) for browser, email in zip(browsers, emails, strict=True)))
    seen = [browser.session for browser in browsers]
    assert [session and session.email for session in seen] == emails
    assert [session and session.name for session in seen] == [f"Person {i}" for i in range(50)]
    assert len({session.account_id for session in seen if session}) == 50


async def test_two_tabs_signing_in_at_once_share_one_account(stage: Stage) -> None:
    email = await stage.person()
    browsers = [TestBrowser(stage) for _ in range(8)]
    await asyncio.gather(*(browser.sign_in(email) for browser in browsers))
    assert len({browser.session.account_id for browser in browsers if browser.session}) == 1
    assert all(browser.session for browser in browsers)
    with stage.db.reading() as session:
        assert session.exec(select(func.count()).select_from(Account)).one() == 1


async def test_a_visitors_account_becomes_theirs_at_the_first_sign_in(stage: Stage) -> None:
    browser = TestBrowser(stage)
    assert (await browser.post("visitor")).status_code == 204
    visitor, old_cookie = browser.session, browser.cookie_header
    assert visitor is not None
    assert visitor.is_visitor
    with stage.db.session() as session:
        session.add(Thread(account_id=visitor.account_id, title="Before"))
    await browser.sign_in(await stage.person())
    assert browser.session is not None
    assert browser.session.account_id == visitor.account_id
    assert not browser.session.is_visitor
    assert browser.cookie_header != old_cookie
    with stage.db.reading() as session:
        account = session.get(Account, visitor.account_id)
        assert account is not None
        assert (account.kind, account.merged_into) == ("person", None)
        old = session.get(ServerSession, visitor.token_hash)
        assert old is not None
        assert old.revoked_at is not None, "the visitor's token must not open the person's account"


async def test_a_visitors_chats_move_to_the_account_that_a_person_has(stage: Stage) -> None:
    email = await stage.person()
    first = TestBrowser(stage)
    await first.sign_in(email)
    assert first.session is not None
    home = first.session.account_id
    browser = TestBrowser(stage)
    await browser.post("visitor")
    visitor = browser.session
    assert visitor is not None
    with stage.db.session() as session:
        thread = Thread(account_id=visitor.account_id)
        session.add(thread)
        session.flush()
        session.add(Message(thread_id=thread.id, account_id=visitor.account_id, role="user"))
    await browser.sign_in(email)
    assert browser.session is not None
    assert browser.session.account_id == home
    with stage.db.reading() as session:
        assert session.exec(select(Thread.account_id)).all() == [home]
        assert session.exec(select(Message.account_id)).all() == [home]
        account = session.get(Account, visitor.account_id)
        assert account is not None
        assert (account.kind, account.merged_into) == ("visitor", home)


async def test_a_visitor_who_is_one_already_gets_no_second_account(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    await browser.post("visitor")
    first = browser.session
    answer = await browser.post("visitor")
    assert "set-cookie" not in answer.headers
    assert browser.session == first


async def test_a_forgotten_password_is_replaced_and_every_other_session_ends(stage: Stage) -> None:
    email = await stage.person()
    elsewhere, browser = TestBrowser(stage), TestBrowser(stage)
    await elsewhere.sign_in(email)
    answer = await browser.post("recover", email=email)
    assert (path(answer), query(answer)) == ("/check-mail/", {"for": "recovery"})
    answer = await browser.post("confirm", **stage.link(email))
    assert (path(answer), query(answer)) == ("/new-password/", {"step": "choose"})
    assert browser.session is None, "the link alone signs nobody in"

    answer = await browser.post("new-password", password="short")
    assert query(answer) == {"step": "choose", "error": "password_short"}
    answer = await browser.post("new-password", password=PASSWORD)
    assert query(answer) == {"step": "choose", "error": "same_password"}, "refused by Supabase, and may try again"
    answer = await browser.post("new-password", password="another horse battery")
    assert (path(answer), query(answer)) == ("/", {"notice": "password_changed"})
    assert browser.session is not None
    assert elsewhere.session is None
    assert [mail.payload["subject"] for mail in stage.mails(email)][-1] == "Your password was changed"
    assert query(await elsewhere.sign_in(email)) == {"error": "invalid_credentials"}
    answer = await browser.post("new-password", password="a third horse battery")
    assert query(answer) == {"error": "recovery_expired"}, "one link, one password"


async def test_a_forged_or_stolen_recovery_cookie_changes_no_password(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    for value in ("", "x", "gAAAAAB" + "A" * 120):
        browser.http.cookies.set(cookies.RECOVERY, value)
        answer = await browser.post("new-password", password="another horse battery")
        assert query(answer) == {"error": "recovery_expired"}


@pytest.mark.parametrize("chosen", ["the owner's own words", PASSWORD])
async def test_a_password_that_a_stranger_chose_first_dies_when_the_owner_signs_up(
    sqlite_stage: Stage, chosen: str
) -> None:
    stage, stranger, owner = sqlite_stage, TestBrowser(sqlite_stage), TestBrowser(sqlite_stage)
    first = PASSWORD if chosen == PASSWORD else "the stranger's words"
    await stranger.post("sign-up", email="a@example.com", password=first)
    stage.world.clock.advance(timedelta(minutes=5))
    await owner.post("sign-up", email="a@example.com", password=chosen)
    await owner.post("confirm", **stage.link("a@example.com"))
    assert owner.session is None
    assert query(await owner.post("new-password", password=chosen)) == {"notice": "password_changed"}
    assert owner.session is not None
    assert (query(await stranger.sign_in("a@example.com", "the stranger's words"))) == {"error": "invalid_credentials"}


async def test_a_change_of_address_needs_both_mails_and_then_shows(sqlite_stage: Stage) -> None:
    stage, browser = sqlite_stage, TestBrowser(sqlite_stage)
    email = await stage.person()
    await browser.sign_in(email)
    before = browser.session
    tokens = await stage.supabase.sign_in(email, PASSWORD)
    headers = {"apikey": stage.settings.supabase.key, "authorization": f"Bearer {tokens.access_token}"}
    await stage.http.put(
        f"{stage.settings.supabase.url}/auth/v1/user", json={"email": "next@example.com"}, headers=headers
    )
    answer = await browser.post("confirm", **stage.link(email))
    assert query(answer) == {"for": "email_change", "notice": "confirm_other_address"}
    assert path(await browser.post("confirm", **stage.link("next@example.com"))) == "/"
    assert before is not None
    assert browser.session is not None
    assert browser.session.email == "next@example.com"
    assert browser.session.account_id == before.account_id
    assert browser.session.token_hash != before.token_hash


async def test_every_form_is_refused_from_another_site(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    email = await sqlite_stage.person()
    await browser.sign_in(email)
    for route in auth.routes(sqlite_stage):
        answer = await browser.http.post(
            route.path, data={"email": email, "password": PASSWORD}, headers={"origin": "https://evil.example"}
        )
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert browser.session is not None, "and a forged sign-out signs nobody out"


async def test_an_answer_about_an_address_is_never_hasty(sqlite_stage: Stage) -> None:
    app = Starlette(routes=auth.routes(sqlite_stage, even_seconds=0.1))
    slow = TestBrowser(replace(sqlite_stage, app=app))
    for fields in ({"email": "nobody@example.com"}, {"email": "not an address"}):
        started = time.monotonic()
        await slow.post("recover", **fields)
        assert time.monotonic() - started >= 0.1


async def test_forms_answer_alike_whether_or_not_an_address_is_known(sqlite_stage: Stage) -> None:
    stage = sqlite_stage
    known, unknown = await stage.person(), "nobody@example.com"
    for form in ("sign-up", "resend", "recover", "recover"):
        answers = [
            await TestBrowser(stage).post(form, email=email, password=PASSWORD) for email in (known, unknown)
        ]
        assert path(answers[0]) == path(answers[1]) == "/check-mail/"
        assert query(answers[0]) == query(answers[1])
    wrong = [await TestBrowser(stage).sign_in(email, "wrong horse battery") for email in (known, unknown)]
    assert query(wrong[0]) == query(wrong[1]) == {"error": "invalid_credentials"}


async def test_a_second_sign_up_tells_only_the_addresss_owner_of_their_account(sqlite_stage: Stage) -> None:
    email = await sqlite_stage.person()
    for _ in range(2):
        await TestBrowser(sqlite_stage).post("sign-up", email=email, password=PASSWORD)
    subjects = [mail.payload["subject"] for mail in sqlite_stage.mails(email)]
    assert subjects == ["You have an account at chatapp already"]


async def test_an_unconfirmed_person_is_sent_to_their_mail(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    await browser.post("sign-up", email="a@example.com", password=PASSWORD)
    answer = await browser.sign_in("a@example.com")
    assert (path(answer), query(answer)) == ("/check-mail/", {"error": "email_not_confirmed"})
    assert browser.http.cookies[cookies.FORM] == "email%3Da%2540example.com"
    assert all("HttpOnly" in cookie for cookie in answer.headers.get_list("set-cookie"))


async def test_signing_out_everywhere_ends_all_sessions_of_this_person_only(stage: Stage) -> None:
    mine, other = await stage.person(), await stage.person()
    here, there, stranger = (TestBrowser(stage) for _ in range(3))
    await asyncio.gather(here.sign_in(mine), there.sign_in(mine), stranger.sign_in(other))
    await here.post("sign-out", everywhere="1")
    assert (here.session, there.session) == (None, None)
    assert stranger.session is not None


async def test_a_new_sign_in_replaces_the_token_and_kills_the_old_one(sqlite_stage: Stage) -> None:
    email = await sqlite_stage.person()
    browser = TestBrowser(sqlite_stage)
    await browser.sign_in(email)
    old = browser.cookie_header
    await browser.sign_in(email)
    assert browser.cookie_header != old
    browser.http.cookies.clear()
    key, _, value = (old or "").partition("=")
    browser.http.cookies.set(key, value)
    assert browser.session is None


async def test_an_expired_visitors_cookie_adopts_nothing(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    await browser.post("visitor")
    visitor = browser.session
    assert visitor is not None
    with sqlite_stage.db.session() as session:
        session.exec(update(ServerSession).values(idle_expires_at=now() - timedelta(seconds=1)))
    await browser.sign_in(await sqlite_stage.person())
    assert browser.session is not None
    assert browser.session.account_id != visitor.account_id


@pytest.mark.parametrize("kind", [Fault.DOWN, Fault.SERVER_ERROR, Fault.TOO_MANY_REQUESTS, Fault.LOST_ANSWER])
async def test_an_outage_of_supabase_is_said_and_leaves_nothing_half_done(sqlite_stage: Stage, kind: Fault) -> None:
    email = await sqlite_stage.person()
    browser = TestBrowser(sqlite_stage)
    sqlite_stage.world.faults.switch_on("supabase", kind, times=1, path="/token")
    assert query(await browser.sign_in(email)) == {"error": "unavailable"}
    assert browser.session is None
    await browser.sign_in(email)
    assert browser.session is not None


async def test_an_outage_leaves_a_link_usable(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    await browser.post("sign-up", email="a@example.com", password=PASSWORD)
    link = sqlite_stage.link("a@example.com")
    sqlite_stage.world.faults.switch_on("supabase", Fault.DOWN, times=1, path="/verify")
    answer = await browser.post("confirm", **link)
    assert path(answer) == "/auth/confirm/"
    assert query(answer) == {**link, "error": "unavailable"}
    assert path(await browser.post("confirm", **link)) == "/"


async def test_signing_out_works_while_supabase_is_down(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    await browser.sign_in(await sqlite_stage.person())
    sqlite_stage.world.faults.switch_on("supabase", Fault.DOWN)
    assert path(await browser.post("sign-out")) == "/"
    assert browser.session is None


async def test_guessing_a_password_is_slowed_down_for_that_address_wherever_it_comes_from(sqlite_stage: Stage) -> None:
    for i in range(20):
        browser = TestBrowser(sqlite_stage, f"203.0.113.{i}")
        assert (await browser.sign_in("nobody@example.com", "wrong horse")).status_code == 303
    answer = await TestBrowser(sqlite_stage, "198.51.100.1").sign_in("Nobody@example.com", "wrong horse")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 901
    assert "Please wait" in answer.text
    assert (await TestBrowser(sqlite_stage).sign_in("somebody@example.com", "wrong horse")).status_code == 303


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(sqlite_stage: Stage) -> None:
    answer = await TestBrowser(sqlite_stage).sign_in(await sqlite_stage.person())
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("session="))
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert answer.headers["cache-control"] == "no-store"


async def test_nothing_happens_on_get(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    for form in ("sign-in", "sign-out", "confirm", "visitor"):
        assert (await browser.http.get(f"/api/auth/{form}")).status_code == 405


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_a_sign_in_never_leads_to_another_site(sqlite_stage: Stage, target: str) -> None:
    answer = await TestBrowser(sqlite_stage).sign_in(await sqlite_stage.person(), next=target)
    assert answer.headers["location"] == sqlite_stage.settings.public_url + "/"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"email": "nobody", "password": PASSWORD}, "email_invalid"),
        ({"email": "a@example.com\r\nBcc: b@example.com", "password": PASSWORD}, "email_invalid"),
        ({"email": "a@example.com", "password": "1234567"}, "password_short"),
        ({"email": "a@example.com", "password": "ä" * 37}, "password_long"),
        ({"email": "a@example.com", "password": "Password123"}, "password_common"),
        ({"email": "longer@example.com", "password": "longer@example.com"}, "password_common"),
        ({}, "email_invalid"),
    ],
)
async def test_a_sign_up_that_cannot_work_says_why(sqlite_stage: Stage, fields: dict[str, str], code: str) -> None:
    answer = await TestBrowser(sqlite_stage).post("sign-up", **fields)
    assert (path(answer), query(answer)["error"]) == ("/sign-up/", code)
    assert code in TEXTS


async def test_a_made_up_link_reaches_supabase_only_if_it_has_the_form_of_one(sqlite_stage: Stage) -> None:
    browser = TestBrowser(sqlite_stage)
    for fields in ({}, {"token_hash": "x" * 30, "type": "sms"}, {"token_hash": "a b" * 10, "type": "signup"}):
        assert query(await browser.post("confirm", **fields)) == {"error": "link_invalid"}
    assert query(await browser.post("confirm", token_hash="0" * 56, type="signup")) == {"error": "otp_expired"}
