"""How Supabase Auth says no: error bodies in both versions of its API, and the gateway's own."""

from __future__ import annotations

from datetime import date

from starlette.requests import Request
from starlette.responses import JSONResponse

API_VERSION_HEADER = "X-Supabase-Api-Version"
VERSION_2024_01_01 = "2024-01-01"

OAUTH_ERRORS = {400: "invalid_request", 401: "unauthorized_client", 403: "access_denied", 500: "server_error"}
"""What the `error` of a redirect says for a status."""


class AuthError(Exception):
    """An answer other than success. `code` is Supabase's error code; empty where the server names none."""

    def __init__(self, status: int, code: str, message: str, *, weak_password_reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.reasons = status, message, weak_password_reasons
        self.code = code or ("unexpected_failure" if status == 500 else "unknown")
        self._names_code = bool(code)

    def response(self, request: Request) -> JSONResponse:
        """Render as the API version that the request asked for.

        From 2024-01-01 on the body is `{"code": "<error code>", "message"}` and the version is echoed, which is how
        SDKs know what `code` means; before it was `{"code": <HTTP status>, "error_code", "msg"}`.
        """
        modern = _asks_for_2024(request.headers.get(API_VERSION_HEADER))
        body: dict[str, object] = (
            {"code": self.code, "message": self.message}
            if modern
            else {"code": self.status, "error_code": self.code, "msg": self.message}
        )
        if self.reasons is not None:
            body["weak_password"] = {"reasons": self.reasons}
        headers = {API_VERSION_HEADER: VERSION_2024_01_01} if modern else {}
        if self._names_code and not (modern and self.reasons):
            headers["x-sb-error-code"] = self.code
        return JSONResponse(body, self.status, headers)


class OAuthError(Exception):
    """An OAuth 2 error: `{"error", "error_description"}` with status 400, whatever the API version."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description

    def response(self, request: Request) -> JSONResponse:
        """Render the error; the version is echoed as with all errors."""
        modern = _asks_for_2024(request.headers.get(API_VERSION_HEADER))
        headers = {API_VERSION_HEADER: VERSION_2024_01_01} if modern else {}
        return JSONResponse({"error": self.error, "error_description": self.description}, 400, headers)


def invalid(message: str) -> AuthError:
    """400 `validation_failed`."""
    return AuthError(400, "validation_failed", message)


def _asks_for_2024(version: str | None) -> bool:
    try:
        return version is not None and date.fromisoformat(version) >= date.fromisoformat(VERSION_2024_01_01)
    except ValueError:
        return False
