"""The console over HTTP, and its mail frame in a real Chromium."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.routing import Mount

from emulators import console, polar, resend
from emulators.clock import Clock
from emulators.faults import Fault, Faults
from emulators.store import Store
from emulators.world import World
from tests.emulators.loopback import configuration, place, serving

PAGES = ["/", "/console/mail", "/console/polar", "/console/faults"]
CUSTOMER = "0199a1f0-1111-7000-8000-000000000001"


@dataclass
class Server:
    world: World
    http: httpx.AsyncClient

    async def mail(self, **change: Any) -> str:
        body = {"from": "Chat <chat@example.com>", "to": "ada@example.com", "subject": "Hello", "text": "Hi", **change}
        headers = {"Authorization": f"Bearer {self.world.config.keys['resend']}"}
        answer = await self.http.post("/resend/emails", json=body, headers=headers)
        return str(answer.json()["id"])

    async def polar(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.world.config.keys['polar']}"}
        answer = await self.http.post(f"/polar/v1/{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def subscribe(self) -> None:
        price = {"amount_type": "fixed", "price_amount": 0, "price_currency": "usd"}
        product = await self.polar("products/", {"name": "Free", "recurring_interval": "month", "prices": [price]})
        customer = await self.polar("customers/", {"email": "ada@example.com", "external_id": CUSTOMER})
        await self.polar("subscriptions/", {"product_id": product["id"], "customer_id": customer["id"]})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    at = place()
    config = configuration(at.url, "http://localhost:3000", tmp_path / "emulators.db")
    store = Store(config.database)
    world = World(config, store, Clock(store), Faults(store))
    vendors = [Mount("/polar", routes=polar.routes(world)), Mount("/resend", routes=resend.routes(world))]
    app = Starlette(routes=[*vendors, *console.routes(world)])
    async with serving(app, at), httpx.AsyncClient(base_url=at.url) as http:
        yield Server(world, http)
    store.close()


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_has_one_title_landmarks_and_no_script(server: Server, path: str) -> None:
    answer = await server.http.get(path)
    assert answer.status_code == 200
    assert answer.text.count("<h1>") == 1
    assert "<main" in answer.text
    assert "<nav aria-label" in answer.text
    assert 'aria-current="page"' in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r'(?:src|href)="https?:', answer.text)


async def test_the_overview_lists_the_vendors_and_their_faults(server: Server) -> None:
    server.world.faults.switch_on("llm", Fault.LOST_ANSWER)
    text = (await server.http.get("/")).text
    for vendor in ("supabase", "polar", "resend", "valyu", "daytona", "llm"):
        assert f"{server.world.config.url}/{vendor}" in text
    assert "Lost answer" in text


async def test_a_mail_is_listed_and_shown_with_both_parts_and_its_headers(server: Server) -> None:
    markup = '<html><head></head><body><a href="http://localhost:3000/x">Confirm</a></body></html>'
    mail_id = await server.mail(
        subject="A & <b>",
        html=markup,
        text="Confirm: <link>",
        headers={"X-Kind": "signup"},
        reply_to="help@example.com",
    )
    await server.mail(to="bea@example.com", subject="Other")
    listed = (await server.http.get("/console/mail", params={"to": "Ada@example.com"})).text
    assert "A &amp; &lt;b&gt;" in listed
    assert "Other" not in listed
    shown = (await server.http.get(f"/console/mail/{mail_id}")).text
    frame = re.search(r'<iframe[^>]*srcdoc="([^"]*)"[^>]*sandbox="([^"]*)"', shown)
    assert frame is not None
    assert html.unescape(frame[1]) == markup.replace("<head>", '<head><base target="_top">')
    assert frame[2] == "allow-popups allow-top-navigation-by-user-activation"
    for expected in ("Confirm: &lt;link&gt;", "X-Kind", "help@example.com", "Chat &lt;chat@example.com&gt;"):
        assert expected in shown


async def test_an_unknown_mail_is_a_page_that_says_so(server: Server) -> None:
    answer = await server.http.get("/console/mail/none")
    assert answer.status_code == 404
    assert "No such mail" in answer.text


async def test_polars_books_are_shown_and_the_clock_moves_to_the_end_of_the_period(server: Server) -> None:
    await server.subscribe()
    event = {"name": "usage", "external_customer_id": CUSTOMER, "metadata": {"charge_microusd": 1234.5}}
    await server.polar("events/ingest", {"events": [event]})
    text = (await server.http.get("/console/polar")).text
    for expected in ("ada@example.com", "Free", "active", CUSTOMER, "1234.5", "subscription.created"):
        assert expected in text
    before = polar.overview(server.world)["subscriptions"][0]["current_period_end"]
    answer = await server.http.post("/console/polar", data={"to": "period_end"})
    assert answer.status_code == 303
    after = polar.overview(server.world)["subscriptions"][0]["current_period_end"]
    assert after > before
    assert server.world.clock.now().isoformat() > before


async def test_a_clock_that_cannot_move_says_why(server: Server) -> None:
    assert (await server.http.post("/console/polar", data={"to": "period_end"})).status_code == 422
    assert (await server.http.post("/console/polar", data={"hours": "-1"})).status_code == 422


async def test_the_clock_over_http(server: Server) -> None:
    before = server.world.clock.now()
    answer = await server.http.post("/_clock", json={"seconds": 3600})
    assert answer.status_code == 200
    assert (server.world.clock.now() - before).total_seconds() >= 3600
    assert (await server.http.get("/_clock")).json()["now"] >= answer.json()["now"]
    for wrong in ({"seconds": -1}, {}, {"seconds": "soon"}):
        assert (await server.http.post("/_clock", json=wrong)).status_code == 422


async def test_faults_over_http(server: Server) -> None:
    asked = {"vendor": "resend", "kind": "429", "times": 2, "path": "/emails", "seconds": 0.5}
    answer = await server.http.post("/_faults", json=asked)
    expected = {"vendor": "resend", "kind": "429", "remaining": 2, "path": "/emails", "seconds": 0.5}
    assert answer.status_code == 201
    assert (await server.http.get("/_faults")).json() == {"faults": [expected]}
    await server.http.post("/_faults", json={"vendor": "resend", "kind": "down"})
    await server.http.post("/_faults", json={"vendor": "polar", "kind": "webhook_late"})
    await server.http.delete("/_faults", params={"vendor": "resend", "kind": "down"})
    assert [row["kind"] for row in server.world.faults.active()] == ["webhook_late", "429"]
    await server.http.delete("/_faults", params={"vendor": "resend"})
    assert [row["kind"] for row in server.world.faults.active()] == ["webhook_late"]
    await server.http.delete("/_faults")
    assert server.world.faults.active() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"vendor": "nobody", "kind": "down"},
        {"vendor": "llm", "kind": "sleepy"},
        {"vendor": "llm", "kind": "down", "times": 0},
        {"vendor": "llm", "kind": "down", "seconds": -1},
        {"vendor": "llm", "kind": "down", "tims": 1},
        ["llm"],
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(server: Server, wrong: object) -> None:
    assert (await server.http.post("/_faults", json=wrong)).status_code == 422
    assert server.world.faults.active() == []


async def test_the_page_switches_faults_on_and_off(server: Server) -> None:
    form = {"vendor": "supabase", "kind": "down", "on": "1", "times": "", "path": "", "seconds": "3"}
    assert (await server.http.post("/console/faults", data=form)).status_code == 303
    assert [(row["vendor"], row["kind"]) for row in server.world.faults.active()] == [("supabase", "down")]
    assert 'aria-pressed="true"' in (await server.http.get("/console/faults")).text
    await server.http.post("/console/faults", data={**form, "on": "0"})
    assert server.world.faults.active() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Origin": "http://evil.example.com"},
        {"Origin": "null"},
        {"Host": "evil.example.com"},
    ],
)
async def test_other_sites_pages_change_nothing(server: Server, headers: dict[str, str]) -> None:
    form = {"vendor": "supabase", "kind": "down"}
    for answer in (
        await server.http.post("/console/faults", data=form, headers=headers),
        await server.http.post("/_faults", json=form, headers=headers),
        await server.http.post("/_clock", json={"seconds": 1}, headers=headers),
        await server.http.post("/console/polar", data={"hours": "1"}, headers=headers),
        await server.http.request("DELETE", "/_faults", headers=headers),
    ):
        assert answer.status_code == 403
    assert server.world.faults.active() == []


async def test_own_pages_may_change_things(server: Server) -> None:
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": server.world.config.url}):
        data = {"vendor": "llm", "kind": "slow"}
        assert (await server.http.post("/console/faults", data=data, headers=headers)).status_code == 303


async def test_the_emulators_are_healthy(server: Server) -> None:
    assert (await server.http.get("/health")).json() == {"status": "ok"}


@pytest.mark.browser
async def test_in_chromium_a_link_in_a_mail_leaves_the_frame_and_its_script_does_not_run(server: Server) -> None:
    target = f"{server.world.config.url}/console/faults"
    mail_id = await server.mail(
        html=f"<p id=p>before</p><script>p.textContent='after'</script><a href='{target}'>Open</a>"
    )
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = await browser.new_page(viewport={"width": 375, "height": 800})
        for path in PAGES:
            await page.goto(server.world.config.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.goto(f"{server.world.config.url}/console/mail/{mail_id}")
        frame = page.frame_locator("iframe")
        assert await frame.locator("#p").text_content() == "before"
        await frame.get_by_text("Open").click()
        await page.wait_for_url(target)
        await page.get_by_role("button", name="Down").first.click()
        await page.get_by_role("button", name="Switch off").wait_for()
        await browser.close()
    assert [row["kind"] for row in server.world.faults.active()] == ["down"]
