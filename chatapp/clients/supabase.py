"""Supabase Auth through its own SDK: who somebody is, and the mails that prove it.

A Supabase client holds one session. Shared between visitors it hands one visitor's session to another, so every
operation here makes a client of its own and throws it away; only the HTTP connections are shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import httpx
from pydantic import ValidationError
from supabase_auth import AsyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError, AuthWeakPasswordError
from supabase_auth.types import AuthResponse, EmailOtpType, User

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.supabase_tokens import Claims, TokenVerifier
from chatapp.settings import Vendor

TIMEOUT_SECONDS = 10.0
"""For one operation, all its requests together. The Send Email Hook may take 5 s of it."""
MAIL_RATE_LIMITED = "over_email_send_rate_limit"
"""The code of a refusal that is about one address, and not about us: that a mail was sent to it a moment ago."""

MailKind: TypeAlias = EmailOtpType
"""What a link in a mail is for: `signup`, `invite`, `magiclink`, `recovery`, `email_change`, `email`."""
Scope: TypeAlias = Literal["global", "local", "others"]


class AuthRefused(Rejected):
    """Supabase says no, and says why.

    Attributes:
        code: Supabase's error code, such as `invalid_credentials`; empty where it names none.
        reasons: for `weak_password`: of `length`, `characters`, `pwned`.
    """

    def __init__(self, code: str, message: str, *, status: int, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message, status=status)
        self.code = code
        self.reasons = reasons


@dataclass(frozen=True)
class AuthTokens:
    """A session at Supabase and the person it is for, from a verified access token.

    Attributes:
        user_id: the token's `sub`.
        name: what the person calls themselves. They can write anything here: for display only.
        confirmed: whether they have proved that the address is theirs.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session_id: str
    user_id: str
    email: str
    name: str
    confirmed: bool


@dataclass(frozen=True)
class SignedUp:
    """What came of a sign-up.

    Attributes:
        tokens: a session at once, in projects that confirm no addresses; usually None, and a mail is on its way.
        already_registered: the address has a confirmed account, and Supabase sent no mail. Never tell the visitor.
    """

    tokens: AuthTokens | None
    already_registered: bool


class Supabase:
    """One project's Auth server.

    Every method raises:
        Unavailable: no answer, too late, 5xx, or a rate limit on all of us.
        AuthRefused: Supabase's no, with its code.
    """

    def __init__(self, vendor: Vendor, http: httpx.AsyncClient, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = f"{vendor.url}/auth/v1"
        self._headers = {"apikey": vendor.key, "Authorization": f"Bearer {vendor.key}"}
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._verifier = TokenVerifier(self._url, http, timeout_seconds=timeout_seconds)

    async def sign_up(self, email: str, password: str, name: str, redirect_to: str) -> SignedUp:
        """Ask for an account. The confirming mail's hook is told `redirect_to`, if the project allows that address."""
        options = {"data": {"name": name}, "email_redirect_to": redirect_to}
        async with self._client() as client:
            answer = await client.sign_up({"email": email, "password": password, "options": options})  # type: ignore[typeddict-item]  # the SDK's union of options
            already = answer.session is None and answer.user is not None and not answer.user.identities
            tokens = await self._tokens(answer) if answer.session else None
            return SignedUp(tokens, already)

    async def sign_in(self, email: str, password: str) -> AuthTokens:
        """Exchange an address and its password for a session."""
        async with self._client() as client:
            return await self._tokens(await client.sign_in_with_password({"email": email, "password": password}))

    async def verify(self, token_hash: str, kind: MailKind) -> AuthTokens | None:
        """Exchange what a mail's link carries for a session; it works once.

        None if this was the first of the two agreements that a change of address needs.
        """
        async with self._client() as client:
            answer = await client.verify_otp({"token_hash": token_hash, "type": kind})
            return await self._tokens(answer) if answer.session else None

    async def refresh(self, refresh_token: str) -> AuthTokens:
        """A new pair of tokens. The old refresh token dies, and its second use after 10 s kills the session."""
        async with self._client() as client:
            return await self._tokens(await client.refresh_session(refresh_token))

    async def sign_out(self, refresh_token: str, scope: Scope) -> None:
        """End this session, all of the user's, or all others. A session that is gone already is no error."""
        with suppress(AuthRefused):  # what Supabase takes no longer belongs to a session that has ended
            tokens = await self.refresh(refresh_token)
            async with self._client() as client:
                await client.admin.sign_out(tokens.access_token, scope)

    async def resend(self, email: str, redirect_to: str) -> None:
        """Send the confirming mail again, if the address waits for one; nothing tells whether it does."""
        async with self._client() as client:
            await client.resend({"type": "signup", "email": email, "options": {"email_redirect_to": redirect_to}})

    async def recover(self, email: str, redirect_to: str) -> None:
        """Send a mail for a forgotten password, if the address is known; nothing tells whether it is."""
        async with self._client() as client:
            await client.reset_password_for_email(email, {"redirect_to": redirect_to})

    async def update_password(self, tokens: AuthTokens, password: str) -> None:
        """Give the user of this session a new password. Refusals: `weak_password`, `same_password` and others."""
        async with self._client() as client:
            await client.set_session(tokens.access_token, tokens.refresh_token)
            await client.update_user({"password": password})

    async def claims(self, access_token: str) -> Claims:
        """Verify an access token here. Raises Rejected for one that this project did not issue, or an expired one."""
        return await self._verifier.verify(access_token, self._user_id)

    async def _user_id(self, access_token: str) -> str:
        async with self._client() as client:
            answer = await client.get_user(access_token)
            return answer.user.id if answer else ""

    async def _tokens(self, answer: AuthResponse) -> AuthTokens:
        session = answer.session
        if session is None:
            raise Unavailable("Supabase answered without a session.", may_have_run=True)
        claims = await self.claims(session.access_token)
        return AuthTokens(
            access_token=session.access_token, refresh_token=session.refresh_token, session_id=claims.session_id,
            user_id=claims.user_id, email=session.user.email or claims.email, name=_name(session.user),
            confirmed=session.user.email_confirmed_at is not None,
        )

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncGoTrueClient]:
        """A client for one operation, with a deadline; the SDK's errors become ours."""
        client = AsyncGoTrueClient(
            url=self._url, headers=self._headers, http_client=self._http, auto_refresh_token=False,
            persist_session=False,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield client
        except TimeoutError as error:
            raise Unavailable(f"Supabase took over {self._timeout_seconds} s.", may_have_run=True) from error
        except AuthError as error:
            raise _translated(error) from error
        except ValidationError as error:
            raise Unavailable("Supabase's answer has an unknown form.", may_have_run=True) from error


def _translated(error: AuthError) -> Exception:
    """Ours for the SDK's: its class tells a refusal from an outage, its cause holds the HTTP answer."""
    cause = error.__cause__
    if isinstance(error, AuthWeakPasswordError):
        return AuthRefused("weak_password", error.message, status=error.status, reasons=tuple(error.reasons))
    if isinstance(cause, httpx.HTTPStatusError):
        status = cause.response.status_code
        code = str(error.code or "")
        limited = status == 429 and code != MAIL_RATE_LIMITED
        if limited or status >= 500 or code.startswith("hook_"):
            return Unavailable(f"Supabase answered {status}: {error.message}", may_have_run=status >= 500,
                               retry_after_seconds=_retry_after(cause.response))
        return AuthRefused(code, error.message, status=status)
    if isinstance(error, AuthRetryableError) or cause is not None:
        unsent = isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        return Unavailable(f"Supabase cannot be reached: {cause!r}", may_have_run=not unsent)
    status = error.status if isinstance(error, AuthApiError) else 400
    return AuthRefused(str(error.code or ""), error.message, status=status)


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _name(user: User) -> str:
    """The name for display, from metadata that the user writes: a sign-up form's `name` or Google's `full_name`."""
    for key in ("name", "full_name"):
        if isinstance(value := user.user_metadata.get(key), str) and value.strip():
            return " ".join(value.split())[:200]
    return ""
