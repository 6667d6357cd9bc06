"""One answer in one page, measured from outside: on the wire, in the processes, in the browser."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from playwright.sync_api import CDPSession, Page

from benchmarks.figures import Figures, percentile
from benchmarks.wire import CountingForwarder
from emulators.llm import lorem

OBSERVER = (Path(__file__).parent / "observer.js").read_text()


def measure(
    subject: str, page: Page, ask: Callable[[str], None], *, tokens: int, rate: float, emulators_url: str,
    wire: CountingForwarder, server_pid: int,
) -> Figures:
    """Ask for `tokens` tokens in a page that is open and quiet, and watch until the answer has ended.

    Args:
        subject: what the figures are of.
        page: its last `article` is the answer, with `data-status` "done" at its end; OBSERVER runs in it.
        ask: sends the question.
        tokens: the answer's length.
        rate: the emulated model's pace, in tokens per second.
        emulators_url: where the emulated model is.
        wire: what the page's connections go through.
        server_pid: the root of the server's process tree.
    """
    text = lorem.text(tokens, marked=True)
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable", {"timeDomain": "threadTicks"})
    set_pace(emulators_url, rate)
    before = _cpu_seconds(server_pid), _main_thread_seconds(browser), wire.down_bytes
    began = time.monotonic()
    ask(f"lorem {tokens} marked")
    last = next(reversed([*lorem.MARK.finditer(text)])).group()
    page.wait_for_function(
        "last => { const a = [...document.querySelectorAll('article')].at(-1); "
        "return a?.dataset.status === 'done' && a.textContent.includes(last); }",
        arg=last, timeout=(tokens / rate * 3 + 30) * 1000, polling=200)
    seconds = time.monotonic() - began
    page.wait_for_timeout(500)  # what the end of an answer sets off belongs to its price
    after = _cpu_seconds(server_pid), _main_thread_seconds(browser), wire.down_bytes
    delays = _delays_ms(text, page.evaluate("window.seen"), _sent(emulators_url, tokens))
    raw = len(text.encode())
    wire_bytes = after[2] - before[2]
    return Figures(
        subject=subject, tokens=tokens, tokens_per_second=rate, raw_bytes=raw, wire_bytes=wire_bytes,
        wire_ratio=round(wire_bytes / raw, 3), delay_ms_p50=round(percentile(delays, 0.5), 1),
        delay_ms_p95=round(percentile(delays, 0.95), 1), marks=len(delays),
        server_cpu_seconds=round(after[0] - before[0], 3), page_cpu_seconds=round(after[1] - before[1], 3),
        seconds=round(seconds, 2), load_average=round(os.getloadavg()[0], 2))


def set_pace(emulators_url: str, rate: float) -> None:
    """Let the emulated model write so many tokens per second."""
    httpx.post(f"{emulators_url}/llm/_emulator/pace", json={"tokens_per_second": rate}).raise_for_status()


def _marks(text: str) -> list[int]:
    return [int(mark) for mark in lorem.MARK.findall(text)]


def _sent(emulators_url: str, tokens: int) -> list[tuple[float, int]]:
    """When the newest stream of so many tokens was sent, chunk by chunk."""
    streams = httpx.get(f"{emulators_url}/llm/_emulator/sent").raise_for_status().json()["streams"]
    return next(stream["chunks"] for stream in reversed(streams) if stream["chunks"][-1][1] == tokens)


def _delays_ms(text: str, seen: dict[str, float], sent: list[tuple[float, int]]) -> list[float]:
    """For each mark that the text has: from the chunk with its token to the page. Raises KeyError if one is missing."""
    return [seen[str(mark)] - 1000 * next(at for at, until in sent if until > mark) for mark in _marks(text)]


def _cpu_seconds(pid: int) -> float:
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system
    return total


def _main_thread_seconds(browser: CDPSession) -> float:
    metrics: list[dict[str, Any]] = browser.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")
