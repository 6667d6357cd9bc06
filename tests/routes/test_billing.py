"""Checkout, portal, status and quote over HTTP: for whom they are, where they lead, and whose figures they show."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlmodel import Session
from starlette.applications import Starlette

from chatapp.accounts import sessions
from chatapp.billing.catalog import PAY_PER_USE
from chatapp.billing.texts import TEXTS
from chatapp.db import Database, now
from chatapp.models import Account, Profile
from chatapp.routes import billing
from chatapp.settings import load
from emulators.faults import Fault
from tests.billing.conftest import subscribe
from tests.billing.town import Town, open_town


@pytest.fixture
async def town(db: Database, tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(db, load({"LIMITS": "on"}), tmp_path) as opened:
        yield opened


class Person:
    """A browser with a session, at the app's routes."""

    def __init__(self, town: Town, *, email: str = "") -> None:
        self.settings = town.services.settings
        with town.db.session() as session:
            self.account_id, token = self._sign_in(session, email)
        self.browser = httpx.AsyncClient(
            transport=httpx.ASGITransport(Starlette(routes=billing.routes(town.services))), base_url="http://app",
            headers={"origin": self.settings.public_url, "cookie": f"session={token}"})

    def _sign_in(self, session: Session, email: str) -> tuple[str, str]:
        account = Account(kind="person" if email else "visitor")
        session.add(account)
        session.flush()
        if email:
            session.add(Profile(id=account.id, account_id=account.id, email=email))
            session.flush()
        return account.id, sessions.open_session(session, self.settings, account.id, now(),
                                                 profile_id=account.id if email else None)

    async def post(self, path: str, **fields: str) -> httpx.Response:
        return await self.browser.post(f"/api/billing/{path}", data=fields,
                                       headers={"content-type": "application/x-www-form-urlencoded"})

    async def status(self) -> httpx.Response:
        return await self.browser.get("/api/billing/status")

    async def quote(self) -> httpx.Response:
        return await self.browser.get("/api/billing/quote")

    def notice(self, answer: httpx.Response) -> str:
        assert answer.status_code == 303
        address, _, code = answer.headers["location"].partition("?notice=")
        assert address == f"{self.settings.public_url}/"
        assert code in TEXTS
        return code


async def test_a_checkout_leads_to_polar_and_from_there_to_the_plan(town: Town) -> None:
    person = Person(town, email="ada@example.com")
    answer = await person.post("checkout", plan="unlimited")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(town.services.settings.polar.url)
    await town.pay(answer.headers["location"])
    again = await person.post("checkout", plan="unlimited")
    assert person.notice(again) == "already_subscribed"
    assert (await person.status()).json()["plan"] == "unlimited"
    portal = await person.post("portal")
    assert portal.headers["location"].startswith(town.services.settings.polar.url)


async def test_refusals_come_back_to_the_app_with_a_notice(town: Town) -> None:
    person, visitor = Person(town, email="ada@example.com"), Person(town)
    assert person.notice(await person.post("checkout", plan="gold")) == "unknown_plan"
    assert person.notice(await person.post("checkout")) == "unknown_plan"
    assert visitor.notice(await visitor.post("checkout", plan="unlimited")) == "sign_in_first"
    assert visitor.notice(await visitor.post("portal")) == "sign_in_first"
    assert person.notice(await person.post("portal")) == "no_invoices_yet"
    town.fault(Fault.DOWN)
    assert person.notice(await person.post("checkout", plan="unlimited")) == "billing_unavailable"


@pytest.mark.parametrize("path", ["checkout", "portal"])
async def test_a_form_of_another_site_buys_nothing(town: Town, path: str) -> None:
    person = Person(town, email="ada@example.com")
    person.browser.headers["origin"] = "https://evil.example"
    assert (await person.post(path, plan="unlimited")).status_code == 403


async def test_the_status_is_the_sessions_own_and_nobody_elses(town: Town) -> None:
    ada, bob = Person(town, email="ada@example.com"), Person(town, email="bob@example.com")
    town.use(ada.account_id)
    shown = (await ada.status()).json()
    assert (shown["plan"], shown["spent"], shown["quotas"][0]["left"]) == ("free", "$0.0025", 5)
    assert (await bob.status()).json()["spent_nanousd"] == 0
    ada.browser.headers["cookie"] = "session=" + "x" * 43
    stranger = await ada.status()
    assert (stranger.status_code, stranger.headers["cache-control"]) == (403, "no-store")


async def test_the_quote_is_the_sessions_own_and_nobody_elses(town: Town) -> None:
    ada, visitor = Person(town, email="ada@example.com"), Person(town)
    subscribe(town.db, ada.account_id, PAY_PER_USE, start=now() - timedelta(days=3))
    shown = await ada.quote()
    assert shown.headers["cache-control"] == "no-store"
    assert shown.json() == {
        "model": ada.settings.model, "billable": True, "similar": 0, "usual_nanousd": None, "usual": None,
        "at_most_nanousd": 6_000_001_000, "at_most": "$6.00"}
    assert ((await visitor.quote()).json()["billable"], (await visitor.quote()).json()["at_most"]) == (False, "$0.10")
    ada.browser.headers["cookie"] = "session=" + "x" * 43
    stranger = await ada.quote()
    assert (stranger.status_code, stranger.headers["cache-control"]) == (403, "no-store")
    assert "nanousd" not in stranger.text
