"""Access tokens, verified here: keys of our own stand for a project's."""

import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chatapp.clients.errors import Rejected, Unavailable
from chatapp.clients.supabase_tokens import KEYS_LIVE_SECONDS, REFETCH_SECONDS, TokenVerifier

ISSUER = "https://project.example/auth/v1"
SHARED_SECRET = "a shared secret of thirty-two bytes"


class Project:
    """Publishes keys, signs tokens, and is asked about those that it signed with a shared secret."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": ec.generate_private_key(ec.SECP256R1())}
        self.fetches = 0
        self.down = False
        self.time = 1000.0
        self.asked: list[str] = []
        app = Starlette(routes=[Route("/auth/v1/.well-known/jwks.json", self._jwks)])
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app))
        self.verifier = TokenVerifier(ISSUER, http, timeout_seconds=1, clock=lambda: self.time)

    async def _jwks(self, _: Request) -> Response:
        self.fetches += 1
        if self.down:
            return Response("<h1>down</h1>", 502)
        algorithms = {"one": jwt.algorithms.ECAlgorithm, "two": jwt.algorithms.ECAlgorithm}
        return JSONResponse({"keys": [
            {**algorithms[kid].to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "ES256"}
            for kid, key in self.keys.items()
        ]})

    def token(self, kid: str = "one", key: Any = None, algorithm: str = "ES256", **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": ISSUER, "aud": "authenticated", "sub": "user-1", "session_id": "s-1", "iat": now,
                "exp": now + 3600, "email": "a@example.com", **claims}
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(body, key or self.keys[kid], algorithm, {"kid": kid})

    async def confirm(self, token: str) -> str:
        self.asked.append(token)
        try:
            claims = jwt.decode(token, SHARED_SECRET, ["HS256"], audience="authenticated")
        except jwt.PyJWTError as error:
            raise Rejected("bad_jwt") from error
        return str(claims["sub"])

    async def verified(self, token: str) -> tuple[str, str, str]:
        claims = await self.verifier.verify(token, self.confirm)
        return claims.user_id, claims.session_id, claims.email


async def test_a_projects_own_token_is_believed_and_its_keys_are_fetched_once() -> None:
    project = Project()
    for _ in range(3):
        assert await project.verified(project.token()) == ("user-1", "s-1", "a@example.com")
    assert (project.fetches, project.asked) == (1, [])


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example/auth/v1"}, {"iss": None}, {"aud": "anon"}, {"aud": None}, {"sub": None},
        {"exp": 1}, {"exp": None}, {"exp": int(time.time()) - 60}, {"iat": int(time.time()) + 600},
    ],
)
async def test_a_token_for_elsewhere_or_another_time_is_refused(claims: dict[str, Any]) -> None:
    project = Project()
    with pytest.raises(Rejected):
        await project.verified(project.token(**claims))


async def test_a_forged_token_is_refused() -> None:
    project = Project()
    forged = [
        project.token(key=ec.generate_private_key(ec.SECP256R1())),
        project.token(key=rsa.generate_private_key(65537, 2048), algorithm="RS256"),
        project.token()[:-6] + "AAAAAA",
        jwt.encode({"sub": "user-1"}, None, "none"),
        "", "a.b.c", "…",
    ]
    for token in forged:
        with pytest.raises(Rejected):
            await project.verified(token)


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    project = Project()
    await project.verified(project.token())
    project.keys["two"] = ec.generate_private_key(ec.SECP256R1())
    project.time += REFETCH_SECONDS
    assert (await project.verified(project.token("two")))[0] == "user-1"
    assert project.fetches == 2


async def test_invented_key_ids_cause_no_flood_of_fetches() -> None:
    project = Project()
    await project.verified(project.token())
    for i in range(20):
        with pytest.raises(Rejected, match="no key"):
            await project.verified(project.token(f"invented-{i}", key=project.keys["one"]))
    assert project.fetches == 1


async def test_a_withdrawn_key_is_forgotten_in_time() -> None:
    project = Project()
    token = project.token()
    await project.verified(token)
    project.keys = {"two": ec.generate_private_key(ec.SECP256R1())}
    project.time += KEYS_LIVE_SECONDS
    with pytest.raises(Rejected, match="no key"):
        await project.verified(token)


async def test_without_keys_nobody_is_believed_and_the_next_try_fetches_again() -> None:
    project = Project()
    project.down = True
    with pytest.raises(Unavailable):
        await project.verified(project.token())
    project.down = False
    assert (await project.verified(project.token()))[0] == "user-1"


async def test_a_project_with_a_shared_secret_is_asked_itself() -> None:
    project = Project()
    token = project.token(key=SHARED_SECRET, algorithm="HS256")
    assert await project.verified(token) == ("user-1", "s-1", "a@example.com")
    assert (project.asked, project.fetches) == ([token], 0)


async def test_a_shared_secret_that_is_not_the_projects_opens_nothing() -> None:
    project = Project()
    for token in (
        project.token(key="x" * 32, algorithm="HS256"),
        project.token(key=SHARED_SECRET, algorithm="HS256", iss="https://other.example/auth/v1"),
        project.token(key=SHARED_SECRET, algorithm="HS256", exp=1),
    ):
        with pytest.raises(Rejected):
            await project.verified(token)
