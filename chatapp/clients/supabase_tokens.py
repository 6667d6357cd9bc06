"""Access tokens of Supabase, checked here: signature, expiry, audience and issuer, without asking the server each time.

The SDK's own `get_claims` checks neither issuer nor audience, so a token of another project would pass it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from chatapp.clients.errors import Rejected, Unavailable

AUDIENCE = "authenticated"
ASYMMETRIC = ("ES256", "RS256")
"""Algorithms whose public keys a project publishes. The key's own algorithm must be the token's."""
KEYS_LIVE_SECONDS = 600.0
REFETCH_SECONDS = 30.0
"""The least time between two fetches: a flood of tokens with invented key ids costs one request per half minute."""
LEEWAY_SECONDS = 10
_REQUIRED = ["exp", "iat", "sub", "aud", "iss"]

Confirm = Callable[[str], Awaitable[str]]
"""Asks Supabase whose a token is: takes the token, answers the user's id, or raises Rejected or Unavailable."""


@dataclass(frozen=True)
class Claims:
    """What a verified access token says.

    Attributes:
        user_id: `sub`: the only key for a profile.
        session_id: Supabase's session, empty where the server names none.
        email: the address at the time of issue; empty for an account without one.
    """

    user_id: str
    session_id: str
    email: str


class TokenVerifier:
    """Verifies access tokens of one project, with its published keys in a cache."""

    def __init__(
        self,
        auth_url: str,
        http: httpx.AsyncClient,
        *,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = auth_url
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def verify(self, token: str, confirm: Confirm) -> Claims:
        """The claims of a token that this project issued and that has not expired.

        Projects that still sign with a shared secret (HS256) publish no key; there `confirm` asks the server.

        Raises:
            Rejected: the token is forged, expired, another project's, or malformed.
            Unavailable: the keys cannot be fetched now.
        """
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") == "HS256":
                return await self._confirmed(token, confirm)
            key = await self._key(str(header.get("kid", "")))
            claims = jwt.decode(
                token, key, list(ASYMMETRIC), audience=AUDIENCE, issuer=self._issuer, leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            raise Rejected(f"The access token is not valid: {error}", status=401) from error
        return _claims(claims)

    async def _confirmed(self, token: str, confirm: Confirm) -> Claims:
        claims = jwt.decode(
            token, audience=AUDIENCE, issuer=self._issuer, leeway=LEEWAY_SECONDS,
            options={"verify_signature": False, "verify_aud": True, "verify_iss": True, "verify_exp": True,
                     "require": _REQUIRED},
        )
        # The server checks the signature, so what it accepts is what it wrote: then every claim may be believed.
        if await confirm(token) != claims["sub"]:
            raise Rejected("The access token is not valid: it is another user's.", status=401)
        return _claims(claims)

    async def _key(self, kid: str) -> jwt.PyJWK:
        if (key := self._fresh(kid)) is not None:
            return key
        async with self._lock:
            if (key := self._fresh(kid)) is not None:  # another request has fetched them in the meantime
                return key
            if self._fetched_at is None or self._clock() - self._fetched_at >= REFETCH_SECONDS:
                await self._fetch()
        if (key := self._keys.get(kid)) is None:
            raise Rejected(f"The access token is not valid: no key {kid[:64]!r} is published.", status=401)
        return key

    def _fresh(self, kid: str) -> jwt.PyJWK | None:
        if self._fetched_at is None or self._clock() - self._fetched_at >= KEYS_LIVE_SECONDS:
            return None
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        url = f"{self._issuer}/.well-known/jwks.json"
        try:
            response = await self._http.get(url, timeout=self._timeout_seconds)
            response.raise_for_status()
            keys = response.json()["keys"]
            self._keys = {key["kid"]: jwt.PyJWK(key) for key in keys if key.get("alg") in ASYMMETRIC}
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            raise Unavailable(f"Supabase's keys at {url} cannot be read: {error!r}") from error
        self._fetched_at = self._clock()


def _claims(claims: dict[str, Any]) -> Claims:
    return Claims(
        user_id=str(claims["sub"]), session_id=str(claims.get("session_id") or ""), email=str(claims.get("email") or "")
    )
