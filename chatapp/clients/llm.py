"""The model's endpoint: anything that speaks OpenAI's Chat Completions API."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from chatapp.settings import Settings

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""The longest silence in an answer: reasoning models think for a while before the first word."""


def build_model(settings: Settings, http_client: httpx2.AsyncClient | None = None) -> OpenAIChatModel:
    """Build the configured model; nothing is sent. `close_model` closes it.

    The SDK's own retries are off, because they could not be metered: retrying is for whoever pays.

    Args:
        settings: endpoint, key and model.
        http_client: shared connections, with timeouts of their own; without it the model has a client of its own.
    """
    client = AsyncOpenAI(
        base_url=settings.llm.url, api_key=settings.llm.key, max_retries=0, http_client=http_client,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
    )
    return OpenAIChatModel(settings.model, provider=OpenAIProvider(openai_client=client), profile=_profile(settings))


async def close_model(model: OpenAIChatModel) -> None:
    """Close the model's connections. The model cannot be used afterwards."""
    await model.client.close()


def _profile(settings: Settings) -> OpenAIModelProfile:
    """What differs from OpenAI itself at other endpoints.

    Of the two names of the output limit, only OpenAI's reasoning models need the new one, and some servers ignore
    it, which would lift the limit that the hold is computed with. An answer that ends without a reason was cut off.
    """
    own = urlsplit(settings.llm.url).hostname == "api.openai.com"
    return OpenAIModelProfile(
        openai_chat_supports_max_completion_tokens=own, openai_chat_streaming_requires_finish_reason=True
    )
