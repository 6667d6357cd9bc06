"""`python -m benchmarks answer`: one long answer through the app, beside the least that could bring it to a page."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.figures import Figures, table
from benchmarks.measure import OBSERVER, measure, set_pace
from benchmarks.wire import CountingForwarder
from tests.browser.app import RunningApp
from tests.browser.conftest import FLAGS
from tests.conftest import ROOT, free_port, wait_until_healthy

WARM_UP_RATE = 1000.0


def main(arguments: Sequence[str]) -> int:
    """Measure, print one line of JSON for each answer and then a table. Returns 1 without a browser."""
    options = _options(arguments)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("The benchmarks need Chromium: install Debian's package 'chromium'.", file=sys.stderr)
        return 1
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, _app(Path(folder)) as (app, app_wire), \
            _plain(app.emulators_url) as (plain_pid, plain_wire, plain_url), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(options.rounds):
            common = {"tokens": options.tokens, "rate": options.rate, "emulators_url": app.emulators_url}
            with _tab(browser, plain_url) as page:
                found.append(measure("plain", page, lambda q: _ask(page, q), wire=plain_wire,
                                     server_pid=plain_pid, **common))
            with _tab(browser, app.url) as page:
                set_pace(app.emulators_url, WARM_UP_RATE)
                _open_chat(page)
                found.append(measure("app", page, lambda q: _ask(page, q), wire=app_wire,
                                     server_pid=app.pid, **common))
            for figures in found[-2:]:
                print(figures.as_json(), flush=True)
        browser.close()
    print(f"\n{table(found)}")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks answer", description=__doc__)
    parser.add_argument("--tokens", type=int, default=2000, help="length of the answer (default: 2000)")
    parser.add_argument("--rate", type=float, default=50, help="the model's tokens per second (default: 50)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured, in turns (default: 1)")
    return parser.parse_args(arguments)


@contextmanager
def _app(folder: Path) -> Iterator[tuple[RunningApp, CountingForwarder]]:
    """The app as `make run` starts it, behind a counting forwarder at its public address."""
    port = free_port()
    app = RunningApp(folder, PORT=str(port), LIMITS="off")
    with CountingForwarder(int(app.url.rsplit(":", 1)[1]), port) as wire:
        try:
            app.start()
            yield app, wire
        finally:
            app.stop()


@contextmanager
def _plain(emulators_url: str) -> Iterator[tuple[int, CountingForwarder, str]]:
    """The baseline, behind a forwarder too."""
    port, public = free_port(), free_port()
    command = [sys.executable, "-m", "benchmarks.plain", str(port), f"{emulators_url}/llm/v1"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_until_healthy(f"http://localhost:{port}/", process)
        with CountingForwarder(public, port) as wire:
            yield process.pid, wire, f"http://localhost:{public}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _tab(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(OBSERVER)
    page.goto(url)
    yield page
    context.close()


def _open_chat(page: Page) -> None:
    """Have an answer with every kind of block before.

    So an answer is measured, and not the loading of a page, or of what formulas and programs need, once.
    """
    _ask(page, "lorem 500")
    page.wait_for_url(re.compile(r"/chat/[0-9a-f-]{36}/"))
    page.wait_for_selector("article[data-status=done]")
    page.wait_for_timeout(1500)


def _ask(page: Page, question: str) -> None:
    field = page.get_by_label("Your question")
    field.fill(question)
    field.press("Enter")

