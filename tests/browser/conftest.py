"""A real Chromium, and the app as `make run` starts it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.app import RunningApp
from tests.conftest import ROOT

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
ARTIFACTS = ROOT / "test-artifacts"


@pytest.fixture(scope="package")  # not session: its event loop would be in the way of later asynchronous tests
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without its window."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "The browser tests need Chromium: install Debian's package 'chromium'."
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app with limits switched on, as in production."""
    running = RunningApp(tmp_path_factory.mktemp("app"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package", autouse=True)
def built(app: RunningApp) -> None:
    """All tests here come after the app's build, whose packages some of them bundle."""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new person: a browser without cookies."""
    made = browser.new_context(viewport={"width": 1280, "height": 800})
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab of that person. Where the test fails, a picture of it is left in test-artifacts/."""
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"error: {error}"))
    failures = request.session.testsfailed
    yield tab
    if request.session.testsfailed > failures:
        ARTIFACTS.mkdir(exist_ok=True)
        tab.screenshot(path=ARTIFACTS / f"{request.node.name}.png")
        (ARTIFACTS / f"{request.node.name}.txt").write_text(f"{tab.url}\n" + "\n".join(said))


@pytest.fixture
def pace(app: RunningApp) -> Iterator[Callable[[int], None]]:
    """Sets how many tokens per second the emulated model writes; the usual pace comes back afterwards."""

    def change(tokens_per_second: int) -> None:
        app.emulator("POST", "/llm/_emulator/pace", json={"tokens_per_second": tokens_per_second})

    yield change
    change(200)


@pytest.fixture
def fault(app: RunningApp) -> Iterator[Callable[[str, str], None]]:
    """Switches a vendor's fault on; all are off afterwards."""
    broken: list[str] = []

    def switch_on(vendor: str, kind: str) -> None:
        broken.append(vendor)
        app.emulator("POST", "/_faults", json={"vendor": vendor, "kind": kind})

    yield switch_on
    for vendor in broken:
        app.emulator("DELETE", "/_faults", params={"vendor": vendor})
