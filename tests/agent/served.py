"""The vendors' own logs of what they served, held against the ledger's rows of the same turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from chatapp.billing import rates
from chatapp.billing.pricing import cost_usd
from chatapp.models import UsageEvent

from .conftest import INPUT_USD, OUTPUT_USD

BYTES_PER_TOKEN = 3
"""What an estimate takes a token for. A token has at least one byte, so it is never below a third of the truth."""
LONGEST_TOKEN_BYTES = 7
"""Of the emulated tokenizer, in plain text: so an estimate is never above seven thirds of the truth, and a margin."""
MARGIN_TOKENS = 200
"""For the bounds' allowances for markers, messages, parts, tools and calls."""
MILLISECOND = Decimal("0.001")


@dataclass(frozen=True)
class Served:
    """What the vendors accepted for one turn, in the order in which it came; refusals that cost nothing are not in it.

    Attributes:
        requests: the model's, with `prompt_tokens`, `completion_tokens` and `finish`.
        search_costs_usd: what each search cost.
        run_costs_usd: what each program's bare running time costs at the list price: what is billed is a little more.
    """

    requests: tuple[dict[str, Any], ...]
    search_costs_usd: tuple[Decimal, ...]
    run_costs_usd: tuple[Decimal, ...]


class Logs:
    """The emulators' logs from now on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before = {name: len(rows) for name, rows in self._all().items()}

    async def at_rest(self) -> None:
        """Wait until every request has ended: what a client has left may go on at the vendor."""
        for _ in range(1_000):
            if not self._get("llm")["under_way"] and all(run["outcome"] != "under way" for run in self._runs()):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("a vendor never came to rest")

    def of(self, mark: str) -> Served:
        """What was served to the turn with this word in its question, which is its thread's id, too."""
        new = self._new()
        return Served(
            tuple(row for row in new["requests"] if mark in row["question"]),
            tuple(Decimal(row["cost_usd"]) for row in new["searches"] if mark in row["query"].split() and _paid(row)),
            tuple(_run_cost_usd(row) for row in new["runs"] if row["labels"]["thread"] == mark),
        )

    def count(self) -> int:
        """How much was served to anybody."""
        new = self._new()
        return len(new["requests"]) + sum(map(_paid, new["searches"])) + len(new["runs"])

    def _new(self) -> dict[str, list[dict[str, Any]]]:
        return {name: rows[self._before[name]:] for name, rows in self._all().items()}

    def _all(self) -> dict[str, list[dict[str, Any]]]:
        return {"requests": self._get("llm")["requests"], "searches": self._get("valyu")["requests"],
                "runs": self._runs()}

    def _runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self._get("daytona")["runs"]
        return runs

    def _get(self, vendor: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self._url}/{vendor}/_emulator/log").raise_for_status().json()
        return found


def differences(rows: Sequence[UsageEvent], served: Served, *, lost: int = 0) -> list[str]:
    """Where a turn's ledger rows, in their order, and what the vendors served to it are not one to one.

    An exact row has the vendor's own quantities and cost; an estimate is within its bounds. A row may stand alone only
    where nobody can know whether the vendor got the request: the person stopped it before anything came, or it is one
    of the `lost`, which a fault kept from arriving.
    """
    models = [row for row in rows if row.kind == "model"]
    searches = [row for row in rows if row.name == "search"]
    runs = [row for row in rows if row.name == "run_code"]
    alone = lost + sum(map(_unheard_of, rows))
    extra = len(models) + len(searches) + len(runs) - served_count(served)
    found = [f"{len(rows)} rows, {served_count(served)} served"] if not 0 <= extra <= alone else []
    if len(models) + len(searches) + len(runs) != len(rows):
        found.append("a row of an unknown kind")
    if sum(row.status == "stopped" for row in models) > 1:
        found.append("stopped twice, although a turn has one request at a time")
    if not _aligned(models, served.requests, alone):
        found.append(f"models: {[(row.quantities, row.exact) for row in models]} and {served.requests}")
    found += _tools("search", searches, served.search_costs_usd, alone, slack=Decimal(0))
    found += _tools("run_code", runs, served.run_costs_usd, alone, slack=Decimal("Infinity"))
    found += [f"run_code: {row.cost_usd} is not its time at the list price" for row in runs
              if row.exact and Decimal(row.cost_usd) != cost_usd(rates.DAYTONA, row.quantities)]
    return found + [f"{row.id} charges what the platform bears" for row in rows
                    if row.bearer == "platform" and row.charge_nanousd]


def _unheard_of(row: UsageEvent) -> bool:
    return row.status == "stopped" and not row.exact and not row.quantities.get("output_tokens")


def served_count(served: Served) -> int:
    """How many paid requests that is."""
    return len(served.requests) + len(served.search_costs_usd) + len(served.run_costs_usd)


def _aligned(rows: Sequence[UsageEvent], requests: Sequence[dict[str, Any]], alone: int) -> bool:
    """Whether the rows are these requests in their order, but for so many estimates that stand alone."""
    if not rows:
        return not requests
    if requests and _fits(rows[0], requests[0]) and _aligned(rows[1:], requests[1:], alone):
        return True
    may_stand_alone = not rows[0].exact and not rows[0].quantities["output_tokens"]
    return alone > 0 and may_stand_alone and _aligned(rows[1:], requests, alone - 1)


def _fits(row: UsageEvent, request: dict[str, Any]) -> bool:
    output = row.quantities["output_tokens"]
    tokens = sum(count for bucket, count in row.quantities.items() if bucket.endswith("_tokens")) - output
    priced_usd = tokens * INPUT_USD + output * OUTPUT_USD
    prompt, completion = request["prompt_tokens"], request["completion_tokens"]
    if row.exact:
        return (tokens, output, Decimal(row.cost_usd)) == (prompt, completion, priced_usd)
    got_all = row.status == "failed" and request["finish"] == "cut"  # a stream that broke: all that was sent was read
    return (
        _estimates(tokens, prompt) and (_estimates(output, completion) if got_all else output <= _most(completion))
        and Decimal(row.cost_usd) <= priced_usd
    )


def _estimates(estimate: int, truth: int) -> bool:
    return truth <= estimate * BYTES_PER_TOKEN and estimate <= _most(truth)


def _most(tokens: int) -> float:
    return tokens * LONGEST_TOKEN_BYTES / BYTES_PER_TOKEN + MARGIN_TOKENS


def _tools(
    name: str, rows: Sequence[UsageEvent], served_usd: Sequence[Decimal], alone: int, *, slack: Decimal
) -> list[str]:
    """Each exact row takes the served cost that it is (or, with slack, the largest that it covers); the estimates,
    which are caps, cover the rest."""
    left = sorted(served_usd)
    for row in sorted((row for row in rows if row.exact), key=lambda row: Decimal(row.cost_usd)):
        cost = Decimal(row.cost_usd)
        fitting = [usd for usd in left if usd <= cost <= usd + slack]
        if not fitting:
            return [f"{name}: {row.cost_usd} was not served, of {[str(usd) for usd in served_usd]}"]
        left.remove(fitting[-1])
    caps = [Decimal(row.cost_usd) for row in rows if not row.exact]
    if not 0 <= len(caps) - len(left) <= alone or (left and max(left) > min(caps)):
        return [f"{name}: {[str(usd) for usd in left]} served, estimates of {[str(cap) for cap in caps]}"]
    return []


def _paid(search: dict[str, Any]) -> bool:
    return search["status"] < 400 or Decimal(search["cost_usd"]) > 0


def _run_cost_usd(run: dict[str, Any]) -> Decimal:
    seconds = max(Decimal(0), Decimal(str(run["seconds"])) - MILLISECOND)
    return cost_usd(rates.DAYTONA, rates.sandbox_quantities(
        seconds, cpu=run["cpu"], memory_gib=run["memory"], disk_gib=run["disk"]))
