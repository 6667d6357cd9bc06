"""The look of the emulator's pages: one small style for light and dark, phones and desktops, no script, no network."""

from __future__ import annotations

from decimal import Decimal
from html import escape

from starlette.responses import HTMLResponse

STYLE = """
:root{color-scheme:light dark;--ink:#1b1d22;--soft:#5c6370;--paper:#f4f5f7;--card:#fff;--line:#d9dce2;--deep:#2546d6;
--on:#fff;--bad:#a3161f;--badbg:#fdecec}
@media(prefers-color-scheme:dark){:root{--ink:#eceef2;--soft:#a2a9b6;--paper:#111317;--card:#1a1d23;--line:#343943;
--deep:#8fa4ff;--on:#10131c;--bad:#ffb4b4;--badbg:#3a1a1d}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:34rem;margin:0 auto;padding:1.5rem 1rem 3rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.25rem;margin:1rem 0}
h1{font-size:1.35rem;margin:.25rem 0}h2{font-size:1.05rem;margin:0 0 .5rem}.price{font-size:1.75rem;font-weight:650}
.usage{font-size:1rem;font-weight:400;color:var(--soft)}
.soft{color:var(--soft)}.note{border-left:3px solid var(--deep);padding:.1rem .75rem;color:var(--soft)}
.bad{background:var(--badbg);color:var(--bad);border-radius:8px;padding:.75rem 1rem;margin:1rem 0}
label{display:block;font-weight:600;margin:.9rem 0 .25rem}
input{width:100%;font:inherit;color:inherit;background:transparent;border:1px solid var(--soft);border-radius:8px;
padding:.6rem .7rem}input[readonly]{border-style:dashed}
button{font:inherit;font-weight:600;border:0;border-radius:8px;padding:.7rem 1.1rem;background:var(--deep);
color:var(--on);cursor:pointer;min-height:44px}form>button{margin-top:1.25rem}.wide{width:100%}
button.plain{background:transparent;color:var(--deep);border:1px solid var(--deep)}
:focus-visible{outline:3px solid var(--deep);outline-offset:2px}a{color:var(--deep)}
table{width:100%;border-collapse:collapse}td,th{text-align:left;padding:.45rem .3rem;border-top:1px solid var(--line)}
td:last-child,th:last-child{text-align:right}
table:not(.items) td:first-child{white-space:nowrap}.row{display:flex;gap:.75rem;flex-wrap:wrap;align-items:center}
"""


def render(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A whole page. `body` is HTML; escape in it what came from outside."""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><main>{body}</main></body></html>', status, headers={"cache-control": "no-store"})


def problem(message: str) -> str:
    """A visible message that assistive technology announces."""
    return f'<p class="bad" role="alert">{escape(message)}</p>' if message else ""


def dollars(cents: int) -> str:
    """Cents as people read them."""
    return f"{'-' if cents < 0 else ''}${abs(cents) / 100:,.2f}"


def exact_dollars(unit_cents: str, many: int = 1) -> str:
    """The price of so many units, each of a fraction of a cent, without trailing zeros."""
    amount = f"{Decimal(unit_cents) * many / 100:,.14f}".rstrip("0")
    whole, _, fraction = amount.partition(".")
    return f"${whole}.{fraction:0<2}"


def link(url: str | None, text: str) -> str:
    """A link to an address given by the app; nothing if there is none or it is no web address."""
    if url is None or not url.startswith(("http://", "https://")):
        return ""
    return f'<p><a href="{escape(url, quote=True)}">{escape(text)}</a></p>'
