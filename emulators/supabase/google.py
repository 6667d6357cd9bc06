"""The page that stands for Google's: it asks who is signing in, and sends the browser back with a code."""

from __future__ import annotations

import hashlib
import html
import secrets
import sqlite3
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from emulators.supabase.errors import AuthError, OAuthError
from emulators.supabase.server import Auth, address

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in with Google (emulated)</title>
<style>
:root {{ color-scheme: light dark; --line: light-dark(#d7dae0, #3a3f47); --paper: light-dark(#fff, #1d2025);
  --ink: light-dark(#1b1d21, #e8eaed); --soft: light-dark(#5c626b, #a5abb4); --key: light-dark(#1a56c4, #8ab4f8); }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  font: 16px/1.5 system-ui, sans-serif; background: light-dark(#f3f4f6, #121417); color: var(--ink); }}
main {{ width: 100%; max-width: 24rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 14px; padding: 1.75rem; }}
h1 {{ font-size: 1.35rem; margin: 0 0 .25rem; }}
p {{ margin: 0 0 1.25rem; color: var(--soft); overflow-wrap: anywhere; }}
label {{ display: block; font-weight: 600; margin: 0 0 .25rem; }}
input {{ width: 100%; font: inherit; color: inherit; background: transparent; padding: .55rem .7rem; margin: 0 0 1rem;
  border: 1px solid var(--line); border-radius: 8px; }}
button {{ font: inherit; padding: .55rem 1rem; border-radius: 8px; border: 1px solid var(--line);
  background: transparent; color: inherit; cursor: pointer; }}
button.main {{ background: var(--key); border-color: var(--key); color: light-dark(#fff, #10203a); font-weight: 600; }}
.row {{ display: flex; gap: .6rem; flex-wrap: wrap; }}
:focus-visible {{ outline: 2px solid var(--key); outline-offset: 2px; }}
</style>
</head>
<body>
<main>
<h1>Sign in with Google</h1>
<p>Emulated: any address works, and Google says that it is verified. You continue to {destination}.</p>
<form method="post" action="{action}">
<input type="hidden" name="state" value="{state}">
<label for="email">E-mail address</label>
<input id="email" name="email" type="email" required autocomplete="email" value="google.visitor@example.com">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="name" value="Google Visitor">
<div class="row">
<button class="main" name="decision" value="allow">Continue</button>
<button name="decision" value="deny" formnovalidate>Cancel</button>
</div>
</form>
</main>
</body>
</html>
"""


async def page(auth: Auth, request: Request) -> Response:
    """GET: the form. `state` is carried through untouched, as OAuth 2 wants."""
    state = request.query_params.get("state", "")
    action = f"{auth.url}/_emulator/google?{urlencode({'state': state})}"
    values = {"action": action, "state": state, "destination": auth.site_url}
    return HTMLResponse(_PAGE.format(**{name: html.escape(value) for name, value in values.items()}))


async def decide(auth: Auth, request: Request) -> Response:
    """POST: back to Supabase's callback with a code, or with the error that Google gives when a visitor cancels."""
    form = await request.form()
    state = str(form.get("state", ""))
    if form.get("decision") != "allow":
        return _back(auth, {"error": "access_denied", "state": state})
    try:
        email = address(str(form.get("email", "")).strip())
    except AuthError as error:
        return HTMLResponse(f"<p>{html.escape(error.message)}</p>", 400)
    code = secrets.token_urlsafe(24)
    name = str(form.get("name", "")).strip() or email.split("@")[0]
    with auth.world.store.transaction() as db:
        db.execute("INSERT INTO supabase_google_code VALUES (?, ?, ?)", (code, email, name))
    return _back(auth, {"code": code, "state": state})


def exchange(db: sqlite3.Connection, code: str) -> dict[str, Any]:
    """What Google tells Supabase about the visitor behind a code, once."""
    row = db.execute("DELETE FROM supabase_google_code WHERE code = ? RETURNING email, name", (code,)).fetchone()
    if row is None:
        raise OAuthError("server_error", "Unable to exchange external code")
    subject = str(int(hashlib.sha256(row["email"].encode()).hexdigest(), 16))[:21]
    return {
        "iss": "https://accounts.google.com",
        "sub": subject,
        "provider_id": subject,
        "email": row["email"],
        "email_verified": True,
        "phone_verified": False,
        "name": row["name"],
        "full_name": row["name"],
    }


def _back(auth: Auth, values: dict[str, str]) -> RedirectResponse:
    return RedirectResponse(f"{auth.url}/callback?{urlencode(values)}", 303)
