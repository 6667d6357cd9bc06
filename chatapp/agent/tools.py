"""The two paid tools. Their docstrings are what the model reads of them.

A vendor's failure is a result, for the model and for the page: a turn goes on without the vendor. What a call cost
travels in its outcome to the meter (`tool_meter`), which settles it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic_ai import RunContext, ToolReturn

from chatapp.agent.events import Source
from chatapp.agent.run import CODE_SECONDS, MAX_RESULTS, Run
from chatapp.agent.sources import place
from chatapp.clients import valyu
from chatapp.clients.code import CodeResult, Figure, clip
from chatapp.clients.errors import Rejected, Unavailable
from chatapp.text import storable

SNIPPET_BYTES = 300
"""What the page shows of a source."""
TITLE_BYTES = 120
URL_BYTES = 200
HEAD_BYTES = TITLE_BYTES + URL_BYTES + 30
"""What comes before a source's passage."""

SEARCH_FAILED = "The search is not available at the moment."
CODE_FAILED = "The code sandbox is not available at the moment."

_MARK = re.compile(r"\[(\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\]")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a tool call came to, for the meter and the page; the model gets the tool's text only.

    Attributes:
        cost_usd: what the vendor charged, in dollars; None if that is unknown and the cap has to be assumed.
        quantities: what was used, in the units of the tool's list prices; empty where the vendor reports a cost.
        sent: False if the vendor certainly never carried it out.
        error: the person's text if the vendor failed.
        sources: of a search.
        code: of a run.
    """

    cost_usd: Decimal | None = Decimal(0)
    quantities: Mapping[str, int] = field(default_factory=dict)
    sent: bool = True
    error: str | None = None
    sources: tuple[Source, ...] = ()
    code: CodeResult | None = None

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What a run drew."""
        return self.code.figures if self.code else ()


async def search(ctx: RunContext[Run], query: str) -> ToolReturn:  # noqa: D417 - the model reads the arguments
    """Search the web and scholarly collections; returns numbered sources with the passages that fit the query.

    Args:
        query: what to look for: a few precise words or one sentence, with names, places and years.
    """
    run = ctx.deps
    try:
        found = await run.deps.valyu.search(
            query, max_results=MAX_RESULTS, max_price_usd_per_thousand=run.breadth.price_usd
        )
    except (Unavailable, Rejected) as error:
        return _failed(error, SEARCH_FAILED)
    passages: dict[str, str] = {}
    shown = [_source(source) for source in found.sources]
    for source, result in zip(shown, found.sources, strict=True):
        passages.setdefault(place(source), _unmarked(result.text))
    sources = run.sources.number(shown)
    room = run.breadth.result_bytes // MAX_RESULTS - HEAD_BYTES
    text = "\n\n".join(
        f"[{source.number}] {source.title}\n{source.url[:URL_BYTES]}\n{_cut(passages[place(source)], room)}"
        for source in sources
    )
    outcome = Outcome(found.cost_usd if found.exact else None, sources=sources)
    return ToolReturn(clip(text, run.breadth.result_bytes) or "Nothing was found. Try other words.", metadata=outcome)


async def run_code(ctx: RunContext[Run], code: str) -> ToolReturn:  # noqa: D417 - the model reads the arguments
    """Run a Python program and return what it prints. The person sees the figures that it makes.

    Args:
        code: the whole program.
    """
    run = ctx.deps
    try:
        result = await run.deps.code_runner.run(
            code, thread_id=run.deps.thread_id, timeout_seconds=CODE_SECONDS
        )
    except (Unavailable, Rejected) as error:
        return _failed(error, CODE_FAILED)
    figures = f"{len(result.figures)} figure(s) were drawn and are shown to the person." if result.figures else ""
    text = "\n".join(part for part in (result.stdout, result.error, figures) if part)
    text = clip(storable(text), run.breadth.result_bytes) or "The program ended and printed nothing."
    return ToolReturn(text, metadata=Outcome(result.cost_usd, result.quantities, code=result))


def refused(reason: str) -> ToolReturn:
    """The result of a call that was not made; `reason` is for the model and for the person."""
    return ToolReturn(f"{reason} Answer with what you have.", metadata=Outcome(sent=False, error=reason))


def _failed(error: Unavailable | Rejected, text: str) -> ToolReturn:
    _log.warning("A tool failed: %s", error)
    if isinstance(error, Rejected):
        outcome = Outcome(error.cost_usd, sent=error.cost_usd > 0, error=text)
    elif error.may_have_run:
        outcome = Outcome(None, error=text)
    else:
        outcome = Outcome(sent=False, error=text)
    return ToolReturn(f"{text} Go on without it, and say what you could not check.", metadata=outcome)


def _source(found: valyu.Source) -> Source:
    url = storable(found.url)
    title = _line(found.title, TITLE_BYTES) or url or _line(found.text, TITLE_BYTES)
    return Source(0, _unmarked(title), url, _cut(found.text, SNIPPET_BYTES))


def _unmarked(text: str) -> str:
    """The text with its own marks such as [12] as (12): a number in brackets is a citation of ours, given by us."""
    return _MARK.sub(r"(\1)", text)


def _cut(text: str, limit_bytes: int) -> str:
    data = storable(text).encode()
    return data.decode() if len(data) <= limit_bytes else data[:limit_bytes].decode(errors="ignore").rstrip() + " …"


def _line(text: str, limit_bytes: int) -> str:
    return _cut(" ".join(text.split()), limit_bytes)
