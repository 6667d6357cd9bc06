"""The baseline: as little as it takes to bring a model's stream to a page. No accounts, no billing, no markdown.

`python -m benchmarks.plain <port> <the model's base address>`
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

PAGE = """<!doctype html><meta charset="utf-8"><title>plain</title><form><input aria-label="Your question"></form>
<script>
document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  const answer = document.body.appendChild(document.createElement("article"));
  const source = new EventSource("/ask?q=" + encodeURIComponent(document.querySelector("input").value));
  source.onmessage = ({ data }) => answer.append(JSON.parse(data));
  source.addEventListener("end", () => { source.close(); answer.dataset.status = "done"; });
};
</script>"""


def build(model_url: str) -> Starlette:
    """The page at `/`, and `/ask?q=` as server-sent events: one for each chunk of the model's."""

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def ask(request: Request) -> Response:
        return StreamingResponse(_relay(model_url, request.query_params["q"]), media_type="text/event-stream")

    return Starlette(routes=[Route("/", page), Route("/ask", ask)])


async def _relay(model_url: str, question: str) -> AsyncIterator[str]:
    body = {"model": "emulated-model", "stream": True, "messages": [{"role": "user", "content": question}]}
    headers = {"Authorization": "Bearer sk-emulated"}
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", f"{model_url}/chat/completions", json=body, headers=headers) as reply,
    ):
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line.removeprefix("data: "))["choices"]
                if choices and (text := choices[0]["delta"].get("content")):
                    yield f"data:{json.dumps(text, ensure_ascii=False)}\n\n"
    yield "event:end\ndata:\n\n"


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
