"""Each request fault, seen by httpx."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from emulators.faults import Fault, FaultMiddleware, Faults
from emulators.store import Store
from tests.emulators.loopback import place, serving


@dataclass
class Vendor:
    """A vendor that counts what reaches it."""

    faults: Faults
    http: httpx.AsyncClient
    served: list[str] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.served.append(request.url.path)
        return JSONResponse({"ok": True})

    async def ask(self, path: str = "/vendor/thing") -> httpx.Response:
        return await self.http.post(path)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    store, at = Store(":memory:"), place()
    async with httpx.AsyncClient(base_url=at.url) as http:
        vendor = Vendor(Faults(store), http)
        routes = [Route("/{rest:path}", vendor.answer, methods=["GET", "POST"])]
        app = FaultMiddleware(Starlette(routes=routes), faults=vendor.faults, vendor="resend")
        async with serving(Starlette(routes=[Mount("/vendor", app)]), at):
            yield vendor
    store.close()


async def test_without_faults_requests_pass(vendor: Vendor) -> None:
    assert (await vendor.ask()).json() == {"ok": True}


async def test_a_vendor_that_is_down_breaks_the_connection_off_before_any_byte(vendor: Vendor) -> None:
    vendor.faults.switch_on("resend", Fault.DOWN)
    for _ in range(3):
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await vendor.ask()
    with pytest.raises(httpx.TransportError):
        async with vendor.http.stream("POST", "/vendor/thing"):
            pytest.fail("there was a response to read")
    assert vendor.served == []
    vendor.faults.switch_off("resend", Fault.DOWN)
    assert (await vendor.ask()).status_code == 200


async def test_a_lost_answer_does_the_work_and_breaks_off(vendor: Vendor) -> None:
    vendor.faults.switch_on("resend", Fault.LOST_ANSWER, times=1)
    with pytest.raises(httpx.TransportError):
        await vendor.ask()
    assert vendor.served == ["/vendor/thing"]
    assert (await vendor.ask()).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [(Fault.TOO_MANY_REQUESTS, 429, "rate_limit_exceeded"), (Fault.SERVER_ERROR, 500, "application_error")],
)
async def test_error_answers_have_the_vendors_form(vendor: Vendor, kind: Fault, status: int, name: str) -> None:
    vendor.faults.switch_on("resend", kind, times=1)
    answer = await vendor.ask()
    assert (answer.status_code, answer.json()["name"]) == (status, name)
    assert answer.headers.get("retry-after") == ("1" if status == 429 else None)
    assert vendor.served == []
    assert (await vendor.ask()).status_code == 200


async def test_a_slow_vendor_answers_late_and_combines_with_another_fault(vendor: Vendor) -> None:
    vendor.faults.switch_on("resend", Fault.SLOW, seconds=0.1)
    vendor.faults.switch_on("resend", Fault.SERVER_ERROR, times=1)
    started = time.monotonic()
    assert (await vendor.ask()).status_code == 500
    assert time.monotonic() - started >= 0.1
    with pytest.raises(httpx.ReadTimeout):
        await vendor.http.post("/vendor/thing", timeout=0.02)


async def test_a_fault_applies_to_its_paths_and_so_many_times(vendor: Vendor) -> None:
    vendor.faults.switch_on("resend", Fault.SERVER_ERROR, times=2, path="/emails")
    paths = ["/vendor/other", "/vendor/emails", "/vendor/emails/batch", "/vendor/emails"]
    assert [(await vendor.ask(path)).status_code for path in paths] == [200, 500, 500, 200]
    assert vendor.faults.active() == []


async def test_the_emulators_own_paths_have_no_faults(vendor: Vendor) -> None:
    vendor.faults.switch_on("resend", Fault.DOWN)
    assert (await vendor.ask("/vendor/_emulator/inbox")).status_code == 200


async def test_faults_survive_a_restart_and_go_off_together(tmp_path) -> None:
    store = Store(tmp_path / "emulators.db")
    Faults(store).switch_on("polar", Fault.DOWN, times=3)
    Faults(store).switch_on("polar", Fault.WEBHOOK_TWICE)
    store.close()
    store = Store(tmp_path / "emulators.db")
    faults = Faults(store)
    assert [(row["kind"], row["remaining"]) for row in faults.active()] == [("down", 3), ("webhook_twice", None)]
    faults.switch_off("polar")
    assert faults.active() == []
    store.close()
