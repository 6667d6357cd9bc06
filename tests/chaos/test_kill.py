"""Invariants 1, 4 and 6, by force: `kill -9` of the app while text streams, a search runs, code runs and usage is on
its way to Polar, all at once; then the vendors vanish; then somebody else locks the database."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from chatapp.agent import bounds
from emulators.llm import lorem
from tests.browser import steps
from tests.browser.app import RunningApp
from tests.chaos.books import wait_until
from tests.chaos.conftest import Person

pytestmark = pytest.mark.browser

RECOVERED_SECONDS = 60.0
PACE = 60


@dataclass
class Aftermath:
    """What was so before the kill.

    Attributes:
        chats: the open tabs, by what ran in them.
        seen: the text that the tab with the streaming answer showed a second before the kill.
        in_flight: ids of the ledger rows that were on their way to Polar.
        seconds: from the kill until no answer was left unfinished, and until Polar had everything.
    """

    person: Person
    chats: dict[str, Page]
    seen: str = ""
    in_flight: set[str] = field(default_factory=set)
    seconds: tuple[float, float] = (0.0, 0.0)

    def answer(self, kind: str) -> dict[str, object]:
        return self.person.books.answer(thread_of(self.chats[kind]))


def fault(app: RunningApp, vendor: str, path: str, seconds: float) -> None:
    app.emulator("POST", "/_faults", json={"vendor": vendor, "kind": "slow", "path": path, "seconds": seconds})


def pace(app: RunningApp, tokens_per_second: int) -> None:
    app.emulator("POST", "/llm/_emulator/pace", json={"tokens_per_second": tokens_per_second})


def thread_of(tab: Page) -> str:
    found = re.search(r"/chat/([0-9a-f-]{36})/", tab.url)
    assert found, tab.url
    return found.group(1)


def until_longer(tab: Page, characters: int) -> None:
    """Wait until the answer on the page is that long."""
    tab.wait_for_function("least => document.querySelector('article')?.innerText.length > least", arg=characters)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


@pytest.fixture(scope="module")
def aftermath(person: Person) -> Iterator[Aftermath]:
    """Three answers at three different steps, a delivery under way, one kill, one new start."""
    app, books = person.app, person.books
    fault(app, "polar", "events/ingest", 14)
    fault(app, "daytona", "code-run", 120)
    coding = person.ask("Plot how $1,000 grows at 5 % a year for 30 years")
    expect(steps.answers(coding).last).to_contain_text("Running Python")
    fault(app, "valyu", "search", 120)
    searching = person.ask("How do heat pumps compare with gas boilers?")
    expect(steps.answers(searching).last).to_contain_text("Searching for")
    pace(app, PACE)
    streaming = person.ask("lorem 5000")
    until_longer(streaming, 500)
    after = Aftermath(person, {"code": coding, "search": searching, "text": streaming})
    late = (datetime.now(UTC) + timedelta(seconds=30)).isoformat(sep=" ")[:19]
    wait_until(lambda: any(row["lease_until"] > late for row in books.in_flight()), 30, "a delivery has just begun")
    after.seen = steps.answers(streaming).last.inner_text()
    time.sleep(1)
    after.in_flight = {row["key"] for row in books.in_flight()}
    killed = time.monotonic()
    app.kill()
    app.emulator("DELETE", "/_faults")
    app.start()
    wait_until(lambda: not app.query("SELECT 1 FROM turn"), RECOVERED_SECONDS, "all answers are ended")
    recovered = time.monotonic() - killed
    wait_until(books.balanced, RECOVERED_SECONDS, f"Polar has what the ledger has: {books.at_polar()}")
    after.seconds = recovered, time.monotonic() - killed
    yield after
    for tab in after.chats.values():
        tab.close()


def test_answers_of_a_killed_process_are_ended_and_billed_within_a_minute(aftermath: Aftermath) -> None:
    assert max(aftermath.seconds) < RECOVERED_SECONDS, aftermath.seconds


def test_text_that_was_seen_a_second_before_the_kill_is_kept(aftermath: Aftermath) -> None:
    answer = aftermath.answer("text")
    assert answer["status"] == "interrupted"
    assert lorem.text(5000).startswith(str(answer["text"]).strip()), "nothing is lost in between, and nothing doubled"
    tab = aftermath.chats["text"]
    tab.reload()
    expect(steps.answers(tab).last).to_contain_text("interrupted")
    seen, kept = words(aftermath.seen)[:-1], words(steps.drawn(tab).inner_text())  # the last word may be half
    assert len(seen) > 50
    assert kept[: len(seen)] == seen


@pytest.mark.parametrize(("kind", "step", "price"), [
    ("text", "Part 1", r"\$\d.*estimate"), ("search", "Search for", r"\$\d[\d.]*(?!.*estimate)"),
    ("code", "Python failed", r"\$\d[\d.]*(?!.*estimate)"),
])
def test_the_open_page_says_by_itself_that_the_answer_was_interrupted(
    aftermath: Aftermath, kind: str, step: str, price: str
) -> None:
    answer = steps.answers(aftermath.chats[kind]).last
    expect(answer).to_contain_text("interrupted", timeout=40_000)
    expect(answer).to_contain_text(step)
    expect(answer.locator("footer")).to_contain_text(re.compile(price, re.DOTALL))
    expect(aftermath.chats[kind].get_by_role("button", name="Ask", exact=True)).to_be_visible()


@pytest.mark.parametrize(("kind", "name", "bearer"), [
    ("text", "emulated-model", "customer"), ("search", "search", "platform"), ("code", "run_code", "platform"),
])
def test_the_step_that_was_killed_is_in_the_ledger_as_an_estimate_that_who_got_nothing_does_not_pay(
    aftermath: Aftermath, kind: str, name: str, bearer: str
) -> None:
    answer = aftermath.answer(kind)
    rows = [row for row in aftermath.person.books.ledger() if row["turn_id"] == answer["id"]]
    [killed] = [row for row in rows if row["status"] == "interrupted"]
    assert (killed["name"], killed["exact"], killed["bearer"]) == (name, 0, bearer)
    assert killed["cost_nanousd"] > 0
    assert (killed["charge_nanousd"] > 0) is (bearer == "customer")
    assert answer["charge_nanousd"] == sum(row["charge_nanousd"] for row in rows)
    if kind == "text":
        sent = aftermath.person.app.emulator("GET", "/llm/_emulator/log")["requests"]
        [cut] = [request for request in sent if request["finish"] == "cut"]
        noted = json.loads(killed["quantities"])["output_tokens"]
        least = len(str(answer["text"])) / bounds.BYTES_PER_TOKEN - 3 * PACE  # noted every second, on a busy machine
        assert least <= noted <= 1.5 * cut["completion_tokens"]


def test_no_hold_is_left(aftermath: Aftermath) -> None:
    assert aftermath.person.books.held() == (0, 0)


def test_polar_has_each_ledger_row_once_even_those_that_were_on_their_way(aftermath: Aftermath) -> None:
    books = aftermath.person.books
    assert aftermath.in_flight, "the kill came in the middle of a delivery"
    assert aftermath.in_flight <= set(books.at_polar())
    assert books.at_polar() == Counter(row["id"] for row in books.ledger())
    assert books.balanced()


@pytest.mark.parametrize("kind", ["text", "search", "code"])
def test_an_interrupted_chat_goes_on(aftermath: Aftermath, kind: str) -> None:
    tab = aftermath.chats[kind]
    expect(steps.answers(tab).last).to_contain_text("interrupted", timeout=40_000)
    pace(aftermath.person.app, 1000)
    steps.ask(tab, "And what does that mean?")
    expect(steps.answers(tab)).to_have_count(2)
    expect(steps.wait_for_answer(tab).locator("footer")).to_contain_text("$")
    assert aftermath.answer(kind)["status"] == "done"


def test_when_all_vendors_vanish_the_page_says_so_and_what_was_used_is_billed_later(person: Person) -> None:
    app, books = person.app, person.books
    pace(app, PACE)
    tab = person.ask("lorem 5000")
    answer = steps.answers(tab).last
    until_longer(tab, 300)
    seen = words(answer.inner_text())[:-1]
    app.kill_emulators()
    expect(answer).to_contain_text("The model does not answer at the moment", timeout=30_000)
    assert words(steps.drawn(tab).inner_text())[: len(seen)] == seen
    steps.ask(tab, "Are you there?")
    expect(steps.answers(tab)).to_have_count(2)
    expect(steps.answers(tab).last).to_contain_text("The model does not answer at the moment", timeout=30_000)
    tab.reload()
    expect(steps.answers(tab)).to_have_count(2)
    assert books.held() == (0, 0)
    app.start()
    pace(app, 1000)
    steps.ask(tab, "And now?")
    expect(steps.answers(tab)).to_have_count(3)
    expect(steps.wait_for_answer(tab)).not_to_contain_text("does not answer")
    wait_until(books.balanced, 60, "Polar has what the ledger has")
    tab.close()


def test_a_database_that_is_locked_for_ten_seconds_loses_nothing(person: Person) -> None:
    app, books = person.app, person.books
    pace(app, PACE)
    tab = person.ask("lorem 900")
    until_longer(tab, 200)
    with closing(sqlite3.connect(app.database, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = len(steps.answers(tab).last.inner_text())
        time.sleep(10)
        assert len(steps.answers(tab).last.inner_text()) > before + 1000, "the text goes on meanwhile"
        other.execute("ROLLBACK")
    steps.wait_for_answer(tab)
    answer = books.answer(thread_of(tab))
    assert (answer["status"], answer["exact"]) == ("done", 1)
    assert answer["text"] == lorem.text(900).strip()
    wait_until(books.balanced, 60, "Polar has what the ledger has")
    assert books.held() == (0, 0)
    tab.close()
