"""Faults, by page and by HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from emulators.console.layout import button, code, page, section, table
from emulators.faults import Fault

if TYPE_CHECKING:
    from emulators.world import World

HERE = "/console/faults"
NAMES = {
    "supabase": "Supabase",
    "polar": "Polar",
    "resend": "Resend",
    "valyu": "Valyu",
    "daytona": "Daytona",
    "llm": "LLM",
}
VENDORS = tuple(NAMES)
LABELS = {
    Fault.DOWN: "Down",
    Fault.SLOW: "Slow",
    Fault.TOO_MANY_REQUESTS: "429",
    Fault.SERVER_ERROR: "500",
    Fault.LOST_ANSWER: "Lost answer",
    Fault.WEBHOOK_TWICE: "Webhooks twice",
    Fault.WEBHOOK_LATE: "Webhooks late",
    Fault.WEBHOOK_FORGED: "Webhooks forged",
}


def show(world: World, request: Request) -> Response:
    """The page: switches per vendor, a form for limited faults, and what is on."""
    active = world.faults.active()
    on = {(row["vendor"], row["kind"]) for row in active}
    cards = Markup("").join(_card(vendor, on) for vendor in VENDORS)
    rows = [
        (NAMES[str(row["vendor"])], LABELS[Fault(str(row["kind"]))], _remaining(row["remaining"]),
         code(row["path"] or "any"), f"{row['seconds']:g} s",
         button("Switch off", HERE, fields={**_key(row), "on": "0"}))
        for row in active
    ]  # fmt: skip
    columns = ("Vendor", "Fault", "Requests left", "Path contains", "Waits", "")
    listed = table("Faults that are on", columns, rows, empty="None. All vendors are well.")
    return page(
        "Faults", section("On now", listed), section("Switches", Markup('<div class="cards">{}</div>').format(cards)),
        section("A limited fault", _form()), here=HERE,
    )  # fmt: skip


async def change(world: World, request: Request) -> Response:
    """The page's own POST."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    try:
        if form.get("on") == "0":
            world.faults.switch_off(_vendor(form.get("vendor")), Fault(form.get("kind", "")))
        else:
            _switch_on(world, {name: value for name, value in form.items() if value and name != "on"})
    except ValueError as error:
        return page("Not understood", Markup("<p>{}</p>").format(error), here=HERE, status=422)
    return RedirectResponse(HERE, 303)


async def switch_on(world: World, request: Request) -> Response:
    """POST /_faults {vendor, kind, times?, path?, seconds?}."""
    try:
        asked = json.loads(await request.body())
        if not isinstance(asked, dict):
            raise ValueError("A JSON object is expected.")
        _switch_on(world, asked)
    except (ValueError, TypeError) as error:
        return JSONResponse({"error": str(error)}, 422)
    return JSONResponse({"faults": world.faults.active()}, 201)


async def switch_off(world: World, request: Request) -> Response:
    """DELETE /_faults?vendor=&kind=: one fault, all of a vendor without `kind`, all of all without both."""
    query = request.query_params
    try:
        vendors = [_vendor(query["vendor"])] if "vendor" in query else list(VENDORS)
        kind = Fault(query["kind"]) if "kind" in query else None
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 422)
    for vendor in vendors:
        world.faults.switch_off(vendor, kind)
    return JSONResponse({"faults": world.faults.active()})


def listing(world: World, request: Request) -> Response:
    """GET /_faults."""
    return JSONResponse({"faults": world.faults.active()})


def _switch_on(world: World, asked: dict[str, object]) -> None:
    unknown = set(asked) - {"vendor", "kind", "times", "path", "seconds"}
    if unknown:
        raise ValueError(f"Unknown: {', '.join(sorted(unknown))}")
    times, seconds = asked.get("times"), float(str(asked.get("seconds", 3)))
    count = None if times is None else int(str(times))
    if (count is not None and count < 1) or not 0 <= seconds <= 3600:
        raise ValueError("times is at least 1, seconds between 0 and 3600")
    kind, path = Fault(str(asked.get("kind"))), str(asked.get("path") or "")
    world.faults.switch_on(_vendor(asked.get("vendor")), kind, times=count, path=path, seconds=seconds)


def _vendor(name: object) -> str:
    if name not in VENDORS:
        raise ValueError(f"vendor is one of {', '.join(VENDORS)}")
    return str(name)


def _kinds(vendor: str) -> list[Fault]:
    """Only Polar sends webhooks."""
    return [kind for kind in Fault if vendor == "polar" or not kind.startswith("webhook")]


def _card(vendor: str, on: set[tuple[object, object]]) -> Markup:
    switches = Markup("").join(
        button(
            LABELS[kind], HERE, pressed=(vendor, kind.value) in on,
            fields={"vendor": vendor, "kind": kind.value, "on": "0" if (vendor, kind.value) in on else "1"},
        )
        for kind in _kinds(vendor)
    )  # fmt: skip
    return Markup('<div class="card"><h3>{}</h3><div class="row">{}</div></div>').format(NAMES[vendor], switches)


def _form() -> Markup:
    vendors = Markup("").join(
        Markup('<option value="{}">{}</option>').format(vendor, NAMES[vendor]) for vendor in VENDORS
    )
    kinds = Markup("").join(Markup('<option value="{}">{}</option>').format(kind.value, LABELS[kind]) for kind in Fault)
    return Markup(
        '<form class="card fields" method="post" action="/console/faults"><input type="hidden" name="on" value="1">'
        '<label>Vendor<select name="vendor">{vendors}</select></label>'
        '<label>Fault<select name="kind">{kinds}</select></label>'
        '<label>Requests<input name="times" type="number" min="1" placeholder="until switched off"></label>'
        '<label>Path contains<input name="path" placeholder="any" autocomplete="off"></label>'
        '<label>Seconds to wait<input name="seconds" type="number" min="0" step="any" value="3"></label>'
        '<button class="main">Switch on</button></form>'
    ).format(vendors=vendors, kinds=kinds)


def _key(row: dict[str, object]) -> dict[str, object]:
    return {"vendor": row["vendor"], "kind": row["kind"]}


def _remaining(remaining: object) -> str:
    return "no limit" if remaining is None else str(remaining)
