"""The books: what the app's database, Polar and the vendors' own logs say after a run, as plain values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from chaos.database import Row
from chaos.house import House
from chaos.load import Load, number_in

POLAR_KEY = "polar_oat_emulated"
INPUT_USD, OUTPUT_USD = Decimal("2.50") / 10**6, Decimal("10.00") / 10**6
"""The emulated model's price per token, as the app's settings have it for a developer."""


@dataclass(frozen=True)
class Charge:
    """A ledger row.

    Attributes:
        placed_at: when its money was set aside, which its id tells.
        tokens: in and out; of a model's request.
        corrects: whether it corrects another row instead of recording a step.
        platform: whether the platform bears it.
    """

    id: str
    account_id: str
    turn_id: str
    thread_id: str
    name: str
    is_model: bool
    billable: bool
    exact: bool
    status: str
    tokens: tuple[int, int]
    cost_usd: Decimal
    markup: Decimal
    charge_nanousd: int
    overrun_nanousd: int
    placed_at: datetime
    settled_at: datetime
    corrects: bool = False
    platform: bool = False


@dataclass(frozen=True)
class Served:
    """Something that a vendor served, by its own log.

    Attributes:
        at: when it was accepted.
        complete: whether all of it was sent. Whether it arrived is another matter.
        tokens: in and out; of a model's request.
        cost_usd: what the vendor takes for it; None where it does not tell.
        turn_id: by the number of the question that it was for; empty if that is not to be seen.
        thread_id: of a program, by its sandbox.
    """

    id: str
    vendor: Literal["llm", "valyu", "daytona"]
    at: datetime
    complete: bool = True
    tokens: tuple[int, int] = (0, 0)
    cost_usd: Decimal | None = None
    turn_id: str = ""
    thread_id: str = ""


@dataclass(frozen=True)
class PolarEvent:
    """An event as Polar has it."""

    external_id: str
    name: str
    account_id: str
    charge_nanousd: int


@dataclass(frozen=True)
class Account:
    """What the app's running totals and Polar's meter say of an account, in nano-dollars."""

    id: str
    charged_nanousd: int
    held_nanousd: int
    metered_nanousd: int


@dataclass(frozen=True)
class Books:
    """Everything that is compared.

    Attributes:
        acknowledged: thread ids of the questions that the app has said it took.
        threads: those that it has.
        answers: how many answers ended how: done, interrupted, failed, stopped; or streaming, if one never ended.
        shown_nanousd: what each answer shows as its price, by its id, which is its turn's.
        delivered, waiting, parked: ledger rows' messages to Polar, by their state.
        kills: when the app was killed, in order.
    """

    acknowledged: tuple[str, ...]
    threads: frozenset[str]
    answers: Mapping[str, int]
    shown_nanousd: Mapping[str, int]
    charges: tuple[Charge, ...]
    delivered: int
    waiting: int
    parked: int
    holds: int
    events: tuple[PolarEvent, ...]
    served: tuple[Served, ...]
    accounts: tuple[Account, ...]
    kills: tuple[datetime, ...]


def unfinished(house: House) -> dict[str, int]:
    """What is still under way: everything is 0 once the app has recovered and delivered."""
    [found] = house.database.rows(
        "SELECT (SELECT count(*) FROM turn) AS answers, (SELECT count(*) FROM hold) AS holds, "
        "(SELECT count(*) FROM outbox_message WHERE channel = 'usage' AND delivered_at IS NULL AND parked_at IS NULL) "
        "AS events")
    return {name: int(count) for name, count in found.items()}


async def read(house: House, load: Load, kills: tuple[datetime, ...]) -> Books:
    """Read all books of a house whose app has nothing under way."""
    rows = house.database.rows
    messages = rows("SELECT id, thread_id, role, status, text, charge_nanousd FROM message ORDER BY created_at, id")
    outbox = rows("SELECT delivered_at, parked_at FROM outbox_message WHERE channel = 'usage'")
    answers = [row for row in messages if row["role"] == "assistant"]
    return Books(
        acknowledged=tuple(load.acknowledged.values()), threads=frozenset(row["thread_id"] for row in messages),
        answers=Counter(row["status"] for row in answers),
        shown_nanousd={row["id"]: row["charge_nanousd"] for row in answers},
        charges=tuple(_charge(row) for row in rows("SELECT * FROM usage_event ORDER BY id")),
        delivered=sum(row["delivered_at"] is not None for row in outbox),
        waiting=sum(row["delivered_at"] is None and row["parked_at"] is None for row in outbox),
        parked=sum(row["parked_at"] is not None for row in outbox),
        holds=unfinished(house)["holds"], events=tuple(map(_event, house.emulators_rows(
            "SELECT * FROM polar_event WHERE source = 'user' ORDER BY seq"))),
        served=tuple(await _served(house, _turns(messages))), accounts=tuple(await _accounts(house)), kills=kills,
    )


def _turns(messages: list[Row]) -> dict[int, str]:
    """The answer's id of each question's number."""
    answers = {row["thread_id"]: row["id"] for row in messages if row["role"] == "assistant"}
    numbers = {row["thread_id"]: number_in(row["text"]) for row in messages if row["role"] == "user"}
    return {number: answers[thread] for thread, number in numbers.items() if number is not None and thread in answers}


def _charge(row: Row) -> Charge:
    quantities, terms, settled_at = _json(row["quantities"]), _json(row["terms"]), _moment(row["occurred_at"])
    corrects = row["corrects"] is not None
    inward = sum(int(quantity) for bucket, quantity in quantities.items() if bucket != "output_tokens")
    return Charge(
        id=row["id"], account_id=row["account_id"], turn_id=row["turn_id"], thread_id=row["thread_id"],
        name=row["name"], is_model=row["kind"] == "model", billable=bool(row["billable"]), exact=bool(row["exact"]),
        status=row["status"], tokens=(inward, int(quantities.get("output_tokens", 0))),
        cost_usd=Decimal(row["cost_usd"]), markup=Decimal(terms["markup"]), charge_nanousd=row["charge_nanousd"],
        overrun_nanousd=row["overrun_nanousd"], settled_at=settled_at, corrects=corrects,
        placed_at=settled_at if corrects else _moment_of_id(row["id"]), platform=row["bearer"] == "platform",
    )


def _event(row: Row) -> PolarEvent:
    charge = json.loads(row["metadata"], parse_float=Decimal)["charge_microusd"]
    return PolarEvent(row["external_id"], row["name"], row["external_customer_id"], int(Decimal(charge) * 1000))


async def _served(house: House, turns: Mapping[int, str]) -> list[Served]:
    """What the vendors' own logs say."""
    log = {vendor: await house.emulator("GET", f"/{vendor}/_emulator/log") for vendor in ("llm", "valyu", "daytona")}

    def turn_of(text: str) -> str:
        return turns.get(number_in(text) or 0, "")

    found = [Served(row["id"], "llm", _moment(row["at"]), row["finish"] != "cut",
                    (row["prompt_tokens"], row["completion_tokens"]),
                    row["prompt_tokens"] * INPUT_USD + row["completion_tokens"] * OUTPUT_USD,
                    turn_id=turn_of(row["question"])) for row in log["llm"]["requests"]]
    found += [Served(row["tx_id"], "valyu", _moment(row["at"]), cost_usd=Decimal(row["cost_usd"]),
                     turn_id=turn_of(row["query"])) for row in log["valyu"]["requests"]]
    found += [Served(row["id"], "daytona", _moment(row["at"]), row["outcome"] != "cut",
                     thread_id=row["labels"].get("thread", "")) for row in log["daytona"]["runs"]]
    return found


async def _accounts(house: House) -> list[Account]:
    """The totals of each account, and Polar's meter as its API tells it."""
    headers, now, day = {"Authorization": f"Bearer {POLAR_KEY}"}, datetime.now(UTC), timedelta(days=1)
    meter = (await house.emulator("GET", "/polar/v1/meters/", headers=headers))["items"][0]
    found = []
    for row in house.database.rows("SELECT * FROM balance"):
        answer = await house.emulator("GET", f"/polar/v1/meters/{meter['id']}/quantities", headers=headers, params={
            "start_timestamp": (now - day).isoformat(), "end_timestamp": (now + day).isoformat(),
            "interval": "day", "external_customer_id": row["account_id"]})
        # Polar adds up in floating point: its sum of thousands of figures is right to far less than a nano-dollar.
        metered = int((Decimal(answer["total"]) * 1000).to_integral_value())
        held = row["held_nanousd"] + row["held_cost_nanousd"]
        found.append(Account(row["account_id"], row["charged_nanousd"], held, metered))
    return found


def _json(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a text on SQLite, an object on Postgres
    found = json.loads(value) if isinstance(value, str) else value
    assert isinstance(found, dict)
    return found


def _moment(value: str | datetime) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _moment_of_id(identifier: str) -> datetime:
    """The milliseconds at the head of a UUIDv7."""
    return datetime.fromtimestamp(int(identifier.replace("-", "")[:12], 16) / 1000, UTC)
