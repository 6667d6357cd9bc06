"""The two paid tools. Their docstrings are what the model reads of them.

A vendor's failure is a result, for the model and for the page: a turn goes on without the vendor. What a call cost
travels in its outcome to the meter (`tool_meter`), which settles it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal

from pydantic_ai import RunContext, ToolReturn

from chatapp.agent.events import Source
from chatapp.agent.run import CODE_SECONDS, MAX_RESULTS, RESULT_BYTES, Run
from chatapp.clients import valyu
from chatapp.clients.code import CodeResult, Figure, clip
from chatapp.clients.errors import Rejected, Unavailable

SNIPPET_BYTES = 300
"""What the page shows of a source."""
PASSAGE_BYTES = RESULT_BYTES // MAX_RESULTS - 350
"""What the model reads of a source; the rest is its title and address."""
TITLE_BYTES = 120
URL_BYTES = 200

SEARCH_FAILED = "The search is not available at the moment."
CODE_FAILED = "The code sandbox is not available at the moment."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a tool call came to, for the meter and the page; the model gets the tool's text only.

    Attributes:
        cost_usd: what the vendor charged, in dollars; None if that is unknown and the cap has to be assumed.
        exact: False for an assumed cost.
        sent: False if the vendor certainly never carried it out.
        error: the person's text if the vendor failed.
        sources: of a search.
        code: of a run.
    """

    cost_usd: Decimal | None = Decimal(0)
    exact: bool = True
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
            query, max_results=MAX_RESULTS, max_price_usd_per_thousand=run.search_price_usd
        )
    except (Unavailable, Rejected) as error:
        return _failed(error, SEARCH_FAILED)
    sources = run.sources.number(_source(source) for source in found.sources)
    passages = {source.url or source.title: source.text for source in reversed(found.sources)}
    text = "\n\n".join(
        f"[{source.number}] {_line(source.title, TITLE_BYTES)}\n{source.url[:URL_BYTES]}\n"
        f"{_cut(passages[source.url or source.title], PASSAGE_BYTES)}" for source in sources
    )
    outcome = Outcome(found.cost_usd, found.exact, sources=sources)
    return ToolReturn(clip(text, RESULT_BYTES) or "Nothing was found. Try other words.", metadata=outcome)


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
    outcome = Outcome(result.cost_usd, code=result)
    return ToolReturn(clip(text, RESULT_BYTES) or "The program ended and printed nothing.", metadata=outcome)


def refused(reason: str) -> ToolReturn:
    """The result of a call that was not made; `reason` is for the model and for the person."""
    return ToolReturn(f"{reason} Answer with what you have.", metadata=Outcome(sent=False, error=reason))


def _failed(error: Unavailable | Rejected, text: str) -> ToolReturn:
    _log.warning("A tool failed: %s", error)
    if isinstance(error, Rejected):
        outcome = Outcome(error.cost_usd, sent=error.cost_usd > 0, error=text)
    elif error.may_have_run:
        outcome = Outcome(None, exact=False, error=text)
    else:
        outcome = Outcome(sent=False, error=text)
    return ToolReturn(f"{text} Go on without it, and say what you could not check.", metadata=outcome)


def _source(found: valyu.Source) -> Source:
    return Source(0, _line(found.title, TITLE_BYTES) or found.url, found.url, _cut(found.text, SNIPPET_BYTES))


def _cut(text: str, limit_bytes: int) -> str:
    data = text.encode()
    return text if len(data) <= limit_bytes else data[:limit_bytes].decode(errors="ignore").rstrip() + " …"


def _line(text: str, limit_bytes: int) -> str:
    return _cut(" ".join(text.split()), limit_bytes)
