"""Supabase Auth: the auth server behind /auth/v1 as supabase-py and a browser meet it.

Behaviour and wording follow the auth server's source and OpenAPI document of August 2026. Not offered, and answered
with 404: phone, magic-link and anonymous sign-in, MFA, SSO, passkeys, manual linking, re-authentication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from emulators.supabase import account, admin, google, links, login, oauth, signup, verify
from emulators.supabase.errors import API_VERSION_HEADER
from emulators.supabase.hook import Hook
from emulators.supabase.schema import SCHEMA
from emulators.supabase.server import Auth, Gateway, Handler, endpoint
from emulators.supabase.tokens import Signer

if TYPE_CHECKING:
    from emulators.world import World

__all__ = ["routes"]

_TABLE: list[tuple[str, str, Handler]] = [
    ("POST", "/signup", signup.sign_up),
    ("POST", "/recover", signup.recover),
    ("POST", "/resend", signup.resend),
    ("POST", "/token", login.token),
    ("POST", "/logout", login.logout),
    ("POST", "/verify", verify.verify_post),
    ("GET", "/verify", verify.verify_get),
    ("GET", "/user", account.user_get),
    ("PUT", "/user", account.user_update),
    ("GET", "/authorize", oauth.authorize),
    ("GET", "/callback", oauth.callback),
    ("GET", "/admin/users", admin.list_users),
    ("POST", "/admin/users", admin.create_user),
    ("GET", "/admin/users/{user_id}", admin.get_user),
    ("PUT", "/admin/users/{user_id}", admin.update_user),
    ("DELETE", "/admin/users/{user_id}", admin.delete_user),
    ("POST", "/admin/generate_link", links.generate_link),
]


def routes(world: World) -> list[BaseRoute]:
    """All of /auth/v1, to be mounted below /supabase."""
    world.store.create(SCHEMA)
    auth = Auth(world, Signer(world.store, f"{world.config.url}/supabase/auth/v1"), Hook(world.config))
    table: list[tuple[str, str, Handler]] = [
        *_TABLE,
        ("GET", "/health", _health),
        ("GET", "/settings", _settings),
        ("GET", "/.well-known/jwks.json", _jwks),
    ]
    api = [Route(path, endpoint(auth, handler), methods=[method]) for method, path, handler in table]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Accept", "Apikey", "Authorization", "Content-Type", "X-Client-Info", API_VERSION_HEADER],
        allow_credentials=True,
        expose_headers=["X-Total-Count", "Link", API_VERSION_HEADER],
    )
    keys = (world.config.keys["supabase"], world.config.keys["supabase_secret"])
    return [
        Route("/auth/v1/_emulator/google", endpoint(auth, google.page), methods=["GET"]),
        Route("/auth/v1/_emulator/google", endpoint(auth, google.decide), methods=["POST"]),
        Mount("/auth/v1", routes=api, middleware=[cors, Middleware(Gateway, keys=keys)]),
    ]


async def _health(auth: Auth, request: Request) -> Response:
    description = "GoTrue is a user registration and authentication API"
    return JSONResponse({"version": "emulated", "name": "GoTrue", "description": description})


async def _jwks(auth: Auth, request: Request) -> Response:
    return JSONResponse(auth.signer.jwks(), headers={"Cache-Control": "public, max-age=600"})


async def _settings(auth: Auth, request: Request) -> Response:
    body = {
        "external": {"anonymous_users": False, "email": True, "google": True, "phone": False},
        "disable_signup": False,
        "mailer_autoconfirm": False,
        "phone_autoconfirm": False,
        "sms_provider": "",
        "saml_enabled": False,
        "passkeys_enabled": False,
    }
    return JSONResponse(body)
