"""Access tokens: ES256 signatures with a key that survives restarts, and the document that publishes its half."""

from __future__ import annotations

import base64
import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from emulators.store import Store
from emulators.supabase.errors import AuthError
from emulators.supabase.users import User

LIFETIME_SECONDS = 3600


class Signer:
    """Signs and checks access tokens.

    Tokens carry real time, not the emulators' clock: who verifies them (the app) looks at its own clock, and a token
    from a clock that was moved a month ahead would be refused as not yet valid.
    """

    def __init__(self, store: Store, issuer: str) -> None:
        self.issuer = issuer
        self.kid, self._key = _load_key(store)

    def access_token(self, user: User, session_id: str, method: str, authenticated_at: int) -> tuple[str, int]:
        """A token for this session, and when it expires (Unix seconds). `method` goes into `amr`."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": user.id,
            "aud": "authenticated",
            "exp": now + LIFETIME_SECONDS,
            "iat": now,
            "email": user.email,
            "phone": "",
            "app_metadata": user.app_metadata,
            "user_metadata": user.user_metadata,
            "role": user.role,
            "aal": "aal1",
            "amr": [{"method": method, "timestamp": authenticated_at}],
            "session_id": session_id,
            "is_anonymous": False,
        }
        return jwt.encode(claims, self._key, "ES256", {"kid": self.kid}), now + LIFETIME_SECONDS

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that this key signed and that has not expired, else AuthError 403 `bad_jwt`."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key.public_key(), ["ES256"], audience="authenticated", issuer=self.issuer
            )
        except jwt.InvalidTokenError as error:
            message = f"invalid JWT: unable to parse or verify signature, {error}"
            raise AuthError(403, "bad_jwt", message) from error
        return claims

    def jwks(self) -> dict[str, Any]:
        """The public half, as /.well-known/jwks.json shows it."""
        numbers = self._key.public_key().public_numbers()
        key = {
            "alg": "ES256",
            "crv": "P-256",
            "ext": True,
            "key_ops": ["verify"],
            "kid": self.kid,
            "kty": "EC",
            "use": "sig",
            "x": _base64url(numbers.x),
            "y": _base64url(numbers.y),
        }
        return {"keys": [key]}


def _load_key(store: Store) -> tuple[str, ec.EllipticCurvePrivateKey]:
    fresh = ec.generate_private_key(ec.SECP256R1())
    pem = fresh.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with store.transaction() as db:
        db.execute("INSERT OR IGNORE INTO supabase_key VALUES (1, ?, ?)", (str(uuid.uuid4()), pem))
        row = db.execute("SELECT kid, pem FROM supabase_key").fetchone()
    key = serialization.load_pem_private_key(row["pem"].encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return row["kid"], key


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
