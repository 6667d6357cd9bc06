"""Every recorded case is put to the emulator: same status, errors and form and, but for ids and times, values.

The recording lacks some requests between its cases; `SET_UP` makes up for them. Times in requests are moved to the
day of the test, and the ids of the recorded server are replaced by those of the emulator as they become known.
"""

import json
import re
from datetime import datetime, timedelta

import httpx
import pytest

from emulators.polar import Settings
from tests.emulators.polar.contract import answer_problems, recorded

NOT_EMULATED = {
    "list events name": "the recording server's event store failed on the numbers beyond 64 bits ingested before",
    "events of later": "as above",
    "metrics": "metrics are not emulated: nothing but Polar's dashboard shows them",
}
RANDOM_ORDER = {"list", "list ext", "get event"}  # events of one millisecond: another one may stand in the place
DATE = re.compile(r"[A-Z][a-z]{2} \d{1,2}, \d{4}")
LATE = 60.0
CAUGHT_UP = {"customer_meters after", "state with grants", "state with usage", "state after revoke",
             "state after cycle"}
EPOCH = datetime.fromisoformat("2026-11-20T10:25:04.261395+00:00")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d(?::|%3A)\d\d(?::|%3A)\d\d(?:\.\d+)?(?:Z|(?:\+|%2B)\d\d(?::|%3A)\d\d)?")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
# Filled by jobs of the real server at times that are not modelled.
EARLIER_OR_LATER = {"modified_at", "first_user_event_at"}
# What differs by nature: secrets, addresses, the organization's own prefix and key; and a price's trailing zeros.
DIFFERENT = {"secret", "token", "client_secret", "url", "success_url", "customer_portal_url", "invoice_number",
             "publishable_key", "unit_amount"}
# Fields of the SDK's version of the interface that the recording server did not have yet.
NEWER = {"is_deletable", "start_timestamp", "end_timestamp", "units", "seats", "api_version", "properties",
         "uses_standard_webhook_signature"}


@pytest.fixture
def settings() -> Settings:
    return Settings(requests_per_minute=100_000, state_delay_seconds=LATE, usage_delay_seconds=LATE)


class Replay:
    """Puts the cases one after the other, in the recorded order."""

    def __init__(self, town) -> None:
        self.town, self.ids, self.meters_of = town, {}, {}
        self.shift = timedelta(0)

    async def start(self) -> None:
        """Begin at noon, so that no day ends within the replay; then make what was there before the first case."""
        now = self.town.world.clock.now()
        noon = (now + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
        await self.town.clock(seconds=(noon - now).total_seconds())
        self.shift = noon - EPOCH
        cases = {case["case"]: case for case in recorded("polar-answers.jsonl")}
        seen = cases["customer get_external"]["body"]
        made = await self.town.sdk.customers.create(email=seen["email"], external_id=seen["external_id"], name="Acme")
        self.ids[seen["id"]] = made.id
        for item in reversed(cases["customer_meters after"]["body"]["items"]):
            await self._meter(item["meter"])

    async def _meter(self, seen: dict) -> None:
        made = await self.town.sdk.meters.create(
            name=seen["name"], filter=seen["filter"], aggregation=seen["aggregation"])
        self.ids[seen["id"]] = made.id

    async def prepare(self, case: dict) -> None:
        """What happened between the recorded requests."""
        name, town = case["case"], self.town
        if name in CAUGHT_UP:
            await town.clock(seconds=LATE + 1)
        if name == "quantities cnt":
            await town.use(10, "acct-c2deb2", "use.c2deb2", metadata={"units": 10, "dec": 0.2, "user": "u1"})
        if name == "state before cycle":
            await town.clock(seconds=901)
            await town.clock(seconds=LATE + 1)
        if name.startswith("orders after") and "cycle" in name:
            await town.clock(to="period_end")
        if name == "get deleted":
            await town.sdk.customers.create(email="late@example.com", external_id="late-f6c996")
            await town.use(1, "late-f6c996")
            await town.sdk.customers.delete_external("late-f6c996")

    def translated(self, text: str) -> str:
        """A recorded text with our ids and with times around the test's noon."""
        text = TIME.sub(self._moved, text)
        return UUID.sub(lambda found: self.ids.get(found[0], found[0]), text)

    def _moved(self, found: re.Match[str]) -> str:
        original, quoted = found[0], "%3A" in found[0]
        moment = datetime.fromisoformat(original.replace("%3A", ":").replace("%2B", "+").replace("Z", "+00:00"))
        moved = (moment + self.shift).isoformat()
        if original.endswith("Z"):
            moved = moved.replace("+00:00", "Z")
        return moved.replace(":", "%3A").replace("+", "%2B") if quoted else moved

    async def put(self, case: dict) -> httpx.Response:
        headers = {"content-type": "application/json", "authorization": "Bearer polar_oat_emulated"}
        if case["case"] == "no auth":
            del headers["authorization"]
        if case["case"] == "bad token":
            headers["authorization"] = "Bearer nobody"
        body = self.translated(whole_request(case))
        return await self.town.browser.request(
            case["method"], f"{self.town.url}/polar{self.translated(case['path'])}", content=body, headers=headers)

    def learn(self, theirs, ours) -> None:
        """Note which of our ids stands where one of theirs stood."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for key in theirs.keys() & ours.keys():
                self.learn(theirs[key], ours[key])
        elif isinstance(theirs, list) and isinstance(ours, list):
            for left, right in zip(theirs, ours, strict=False):
                self.learn(left, right)
        elif isinstance(theirs, str) and isinstance(ours, str) and UUID.fullmatch(theirs) and UUID.fullmatch(ours):
            self.ids.setdefault(theirs, ours)


def whole_request(case: dict) -> str:
    """The request; those that the recording cut off are built again."""
    def batch(count: int, prefix: str, name: str, **fields) -> str:
        return json.dumps({"events": [{"name": name, "external_customer_id": "acct-c2deb2", **fields,
                                       "external_id": f"{prefix}{number}-c2deb2"} for number in range(count)]})

    rebuilt = {
        "meta 300 keys": lambda: json.dumps({"events": [{
            "name": "mdc2deb2", "external_customer_id": "acct-c2deb2",
            "metadata": {f"k{number}": number for number in range(300)}}]}),
        "1000 events": lambda: batch(1000, "b", "bulkc2deb2"),
        "20000 events": lambda: batch(20_000, "c", "bulk2c2deb2"),
        "body > 10 MiB": lambda: batch(20_000, "d", "z" * 120, metadata={"a": "x" * 500}),
    }
    return rebuilt[case["case"]]() if case["case"] in rebuilt else case["request"]


def differences(theirs, ours, at: str = "", *, values: bool = True) -> list[str]:
    """Where our answer differs from the recorded one in keys, types or values."""
    key = at.rsplit(".", 1)[-1].split("[")[0]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        missing = [f"{at}.{name} is missing" for name in theirs.keys() - ours.keys()]
        added = [f"{at}.{name} is ours alone" for name in ours.keys() - theirs.keys() - NEWER]
        if key == "prices" and all(UUID.fullmatch(name) for name in theirs):
            missing, added = [], []
        return [*missing, *added, *(found for name in theirs.keys() & ours.keys()
                                    for found in differences(theirs[name], ours[name], f"{at}.{name}", values=values))]
    if isinstance(theirs, list) and isinstance(ours, list):
        lengths = [] if bool(theirs) == bool(ours) else [f"{at} has {len(ours)} items instead of {len(theirs)}"]
        return lengths + [found for index, (left, right) in enumerate(zip(theirs, ours, strict=False))
                          for found in differences(left, right, f"{at}[{index}]", values=values)]
    if (theirs is None or ours is None) and key in EARLIER_OR_LATER:
        return []
    if type(theirs) is not type(ours):
        return [f"{at} is {ours!r} instead of {theirs!r}"]
    if not values or key in DIFFERENT or theirs == ours or _both(theirs, ours, UUID) or _both(theirs, ours, TIME):
        return []
    return [f"{at} is {ours!r} instead of {theirs!r}"]


def sorted_(value):
    """The answer with lists that jobs fill in no certain order put in order, and with dates in labels made equal."""
    if isinstance(value, dict):
        return {key: sorted_(each) for key, each in value.items()}
    if isinstance(value, list):
        every = [sorted_(each) for each in value]
        if every and isinstance(every[0], dict):
            every.sort(key=lambda each: str(each.get("benefit_type", "")) + str(
                each.get("meter", {}).get("name", "") if "balance" in each else ""))
        return every
    return DATE.sub("<date>", value) if isinstance(value, str) else value


def _both(theirs, ours, pattern: re.Pattern[str]) -> bool:
    return isinstance(theirs, str) and bool(pattern.fullmatch(theirs)) and bool(pattern.fullmatch(ours))


async def test_every_recorded_case_is_answered_as_it_was_recorded(town):
    cases = recorded("polar-answers.jsonl")
    replay, found, played = Replay(town), [], 0
    await replay.start()
    for case in cases:
        if case["case"] in NOT_EMULATED:
            continue
        await replay.prepare(case)
        answer = await replay.put(case)
        played += 1
        if answer.status_code != case["status"]:
            found.append(f"{case['case']}: {answer.status_code} instead of {case['status']}: {answer.text[:300]}")
            continue
        if not case["headers"].get("content-type", "").startswith("application/json"):
            assert answer.text == case["body"]
            continue
        theirs, ours = json.loads(replay.translated(json.dumps(case["body"]))), answer.json()
        replay.learn(case["body"], ours)
        values = case["case"] not in RANDOM_ORDER
        found += [f"{case['case']}: {each}" for each in differences(sorted_(theirs), sorted_(ours), values=values)]
    assert not found, "\n".join(found)
    assert played == len(cases) - len(NOT_EMULATED)
    assert town.checked.count > played


def test_the_comparison_finds_what_differs():
    assert differences({"a": 1, "id": None}, {"a": 1.0, "b": 2}) == [".id is missing", ".b is ours alone",
                                                                     ".a is 1.0 instead of 1"]
    assert differences({"a": []}, {"a": [1]}) == [".a has 1 items instead of 0"]


def test_the_document_refuses_an_answer_of_another_form():
    assert answer_problems("GET", "/v1/customers/external/acct/state", 200, b"{}")
    assert answer_problems("GET", "/v1/customers/external/acct/state", 418, b"{}")
    assert answer_problems("GET", "/v1/nowhere", 200, b"{}")
