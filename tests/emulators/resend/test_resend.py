"""The Resend emulator with Resend's own SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import resend as sdk
from resend.exceptions import MissingRequiredFieldsError, RateLimitError, ResendError, ValidationError
from starlette.applications import Starlette
from starlette.routing import Mount

from emulators import resend
from emulators.clock import Clock
from emulators.faults import Faults
from emulators.store import Store
from emulators.world import World
from tests.emulators.loopback import configuration, place, serving
from tests.emulators.openapi import Contract

MAIL: dict[str, Any] = {
    "from": "Chat <chat@example.com>",
    "to": "ada@example.com",
    "subject": "Hello",
    "html": "<p>Hello</p>",
    "text": "Hello",
}


@dataclass
class Server:
    world: World
    url: str
    http: httpx.AsyncClient


@pytest.fixture
async def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Server]:
    at = place()
    config = configuration(at.url, at.url, tmp_path / "emulators.db")
    config = replace(config, resend_requests_per_second=getattr(request, "param", 1000))
    store = Store(config.database)
    world = World(config, store, Clock(store), Faults(store))
    # The SDK is configured by these two globals; there is no other way.
    monkeypatch.setattr(sdk, "api_url", f"{at.url}/resend")
    monkeypatch.setattr(sdk, "api_key", config.keys["resend"])
    app = Starlette(routes=[Mount("/resend", routes=resend.routes(world))])
    async with serving(app, at), httpx.AsyncClient() as http:
        yield Server(world, f"{at.url}/resend", http)
    store.close()


async def post(server: Server, body: object, **headers: str) -> httpx.Response:
    """A request without the SDK, held against the interface document if it succeeds."""
    headers = {"Authorization": f"Bearer {server.world.config.keys['resend']}", **headers}
    path = "/emails/batch" if isinstance(body, list) else "/emails"
    answer = await server.http.post(server.url + path, content=json.dumps(body), headers=headers)
    if answer.status_code == 200:
        contract = Contract("resend.openapi.json")
        assert contract.check_request("POST", path, body)
        assert contract.check_answer("POST", path, 200, answer.json())
    return answer


async def test_a_mail_is_taken_kept_and_shown(server: Server) -> None:
    mail = {
        **MAIL, "to": ["Ada <ada@example.com>"], "reply_to": "help@example.com", "cc": "bea@example.com",
        "headers": {"X-Entity-Ref-ID": "1"}, "tags": [{"name": "kind", "value": "receipt"}],
    }  # fmt: skip
    sent = await sdk.Emails.send_async(mail)  # type: ignore[arg-type]  # a plain dict
    kept = resend.inbox(server.world)[0]
    assert (kept.id, kept.sender, kept.to) == (sent["id"], "Chat <chat@example.com>", ["Ada <ada@example.com>"])
    assert (kept.html, kept.text, kept.reply_to) == ("<p>Hello</p>", "Hello", ["help@example.com"])
    assert kept.headers == {"X-Entity-Ref-ID": "1"}
    assert kept.tags == [{"name": "kind", "value": "receipt"}]
    shown = await sdk.Emails.get_async(sent["id"])
    assert (shown["subject"], shown["last_event"]) == ("Hello", "delivered")
    assert Contract("resend.openapi.json").check_request("POST", "/emails", mail)
    answer = await server.http.get(f"{server.url}/emails/{sent['id']}", headers=_key(server))
    assert Contract("resend.openapi.json").check_answer("GET", f"/emails/{sent['id']}", 200, answer.json())


async def test_the_inbox_finds_mail_by_recipient(server: Server) -> None:
    await post(server, {**MAIL, "to": ["Ada <Ada@Example.com>", "bea@example.com"]})
    await post(server, {**MAIL, "to": "cid@example.com", "bcc": "ada@example.com"})
    for address, count in (("ada@example.com", 2), ("bea@example.com", 1), ("a@example.com", 0)):
        found = (await server.http.get(f"{server.url}/_emulator/inbox", params={"to": address})).json()["data"]
        assert len(found) == count
    assert found == []


async def test_an_idempotency_key_sends_once_for_a_day(server: Server) -> None:
    options = {"idempotency_key": "mail/1"}
    first = await sdk.Emails.send_async(MAIL, options)  # type: ignore[arg-type]
    again = await sdk.Emails.send_async(MAIL, options)  # type: ignore[arg-type]
    assert first["id"] == again["id"]
    with pytest.raises(ResendError) as caught:
        await sdk.Emails.send_async({**MAIL, "subject": "Other"}, options)  # type: ignore[arg-type, typeddict-item]
    assert (caught.value.code, caught.value.error_type) == (409, "invalid_idempotent_request")
    assert len(resend.inbox(server.world)) == 1
    server.world.clock.advance(timedelta(hours=24))
    assert (await sdk.Emails.send_async(MAIL, options))["id"] != first["id"]  # type: ignore[arg-type]


async def test_the_same_key_at_once_still_sends_once(server: Server) -> None:
    answers = await asyncio.gather(*(post(server, MAIL, **{"Idempotency-Key": "one"}) for _ in range(5)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(resend.inbox(server.world)) == 1


async def test_a_refused_mail_does_not_use_its_key_up(server: Server) -> None:
    refused = await post(server, {**MAIL, "to": "nobody"}, **{"Idempotency-Key": "one"})
    accepted = await post(server, MAIL, **{"Idempotency-Key": "one"})
    assert (refused.status_code, accepted.status_code) == (422, 200)


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_an_idempotency_key_has_1_to_256_characters(server: Server, key: str) -> None:
    answer = await post(server, MAIL, **{"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["name"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("name", ["from", "to", "subject"])
async def test_missing_fields_are_named(server: Server, name: str) -> None:
    with pytest.raises(MissingRequiredFieldsError) as caught:
        await sdk.Emails.send_async({key: MAIL[key] for key in MAIL if key != name})  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.error_type) == (422, "missing_required_field")
    assert f"`{name}`" in caught.value.message


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"from": "nobody"}, "invalid_from_address"),
        ({"to": "nobody"}, "validation_error"),
        ({"to": ["ada@example.com"] * 51}, "validation_error"),
        ({"to": []}, "validation_error"),
        ({"reply_to": 1}, "validation_error"),
        ({"html": None, "text": None}, "validation_error"),
        ({"tags": [{"name": "kind", "value": "two words"}]}, "validation_error"),
        ({"headers": {"X-Number": 1}}, "validation_error"),
    ],
)
async def test_invalid_mail_is_refused_in_resends_form(server: Server, change: dict[str, Any], name: str) -> None:
    answer = await post(server, {**MAIL, **change})
    body = answer.json()
    assert (answer.status_code, body["statusCode"], body["name"]) == (422, 422, name)
    assert set(body) == {"statusCode", "name", "message"}
    assert resend.inbox(server.world) == []


async def test_keys_are_checked(server: Server) -> None:
    missing = await server.http.post(f"{server.url}/emails", json=MAIL)
    wrong = await server.http.post(f"{server.url}/emails", json=MAIL, headers={"Authorization": "Bearer re_wrong"})
    assert (missing.status_code, missing.json()["name"]) == (401, "missing_api_key")
    assert (wrong.status_code, wrong.json()["name"]) == (403, "invalid_api_key")


async def test_a_strict_batch_is_all_or_none_and_a_permissive_one_reports(server: Server) -> None:
    batch = [MAIL, {**MAIL, "to": "nobody"}, {**MAIL, "subject": "Third"}]
    with pytest.raises(ValidationError):
        await sdk.Batch.send_async(batch)  # type: ignore[arg-type]
    assert resend.inbox(server.world) == []
    options = {"batch_validation": "permissive"}
    answer = await sdk.Batch.send_async(batch, options)  # type: ignore[arg-type]
    assert len(answer["data"]) == 2
    assert [error["index"] for error in answer["errors"]] == [1]
    assert [mail.subject for mail in resend.inbox(server.world)] == ["Third", "Hello"]
    assert (await post(server, [MAIL])).status_code == 200


async def test_a_batch_holds_at_most_a_hundred(server: Server) -> None:
    assert (await post(server, [MAIL] * 101)).status_code == 422
    assert (await post(server, [MAIL] * 100)).status_code == 200


@pytest.mark.parametrize("server", [2], indirect=True)
async def test_the_rate_limit_is_per_second_and_tells_when_to_come_back(server: Server) -> None:
    for _ in range(2):
        await sdk.Emails.send_async(MAIL)  # type: ignore[arg-type]
    with pytest.raises(RateLimitError) as caught:
        await sdk.Emails.send_async(MAIL)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.error_type) == (429, "rate_limit_exceeded")
    headers = {name.lower(): value for name, value in caught.value.headers.items()}
    assert (headers["retry-after"], headers["ratelimit-limit"], headers["ratelimit-remaining"]) == ("1", "2", "0")
    assert len(resend.inbox(server.world)) == 2


async def test_an_unknown_mail_is_not_found(server: Server) -> None:
    answer = await server.http.get(f"{server.url}/emails/none", headers=_key(server))
    assert (answer.status_code, answer.json()["name"]) == (404, "not_found")


def _key(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.world.config.keys['resend']}"}
