"""The Send Email Hook: Supabase hands us its mails, inside the transaction of a sign-up and with 5 seconds in all.

So a mail is only queued here. A repetition carries the same `metadata.uuid` and is the same mail.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import BaseModel, ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chatapp import mail
from chatapp.accounts.recovery import RENEWED_SIGN_UP
from chatapp.accounts.sign_in import AccountServices
from chatapp.mail import templates
from chatapp.mail.layout import Mail
from chatapp.models import Profile
from chatapp.routes.guard import Refusal, read_body, safe_next
from chatapp.settings import Settings

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 256 * 1024
"""Supabase sends up to 200 kB: a user's own metadata is in it."""
FIRST_SIGN_UP_WITHIN = timedelta(minutes=1)
_SIGNATURE = re.compile(r"v1,([A-Za-z0-9+/]+={0,2})")
_SIMPLE = {
    "signup": templates.sign_up, "email": templates.magic_link, "magiclink": templates.magic_link,
    "recovery": templates.recovery, "invite": templates.invite,
}


class _Metadata(BaseModel):
    uuid: str
    time: datetime | None = None


class _User(BaseModel):
    id: str
    email: str = ""
    new_email: str = ""
    created_at: datetime | None = None


class _EmailData(BaseModel):
    """What the mail is about. With a change of address the pairs are crossed; see `_address_change`."""

    email_action_type: str
    token: str = ""
    token_hash: str = ""
    token_new: str = ""
    token_hash_new: str = ""
    redirect_to: str = ""
    old_email: str = ""
    provider: str = ""
    factor_type: str = ""


class _Payload(BaseModel):
    metadata: _Metadata
    user: _User
    email_data: _EmailData


class HookError(Exception):
    """A call that is refused, in the form in which Supabase reads it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> JSONResponse:
        """`{"error": {"http_code", "message"}}` with the same HTTP status."""
        return JSONResponse({"error": {"http_code": self.status, "message": str(self)}}, self.status)


def routes(services: AccountServices, *, wake_mail: Callable[[], None] | None = None) -> list[Route]:
    """The hook's route. `wake_mail` is called after a mail was queued, so that it need not wait for the next round."""

    async def send_email(request: Request) -> Response:
        try:
            payload = await _verified(request, services.settings)
            mails = mails_for(services.settings, payload)
        except HookError as error:
            return error.response()
        await asyncio.to_thread(_enqueue, services, payload, mails)
        if wake_mail is not None:
            wake_mail()
        return JSONResponse({})

    return [Route("/api/hooks/send-email", send_email, methods=["POST"])]


async def _verified(request: Request, settings: Settings) -> _Payload:
    try:
        body = await read_body(request, BODY_LIMIT_BYTES)
    except Refusal as refusal:
        raise HookError(refusal.status, refusal.text) from refusal
    if not is_signed(body, dict(request.headers), settings.send_email_hook_secret):
        # Without a word of the body: whoever sends a forged call chooses what is in it.
        log.warning("The Send Email Hook refused a call of %d bytes: its signature is missing, wrong or too old. "
                    "If no mail goes out, SEND_EMAIL_HOOK_SECRET is not the one at Supabase.", len(body))
        raise HookError(401, "The signature is missing, wrong or too old.")
    try:
        return _Payload.model_validate_json(body)
    except ValidationError as error:
        raise HookError(400, f"The payload has an unknown form: {error.error_count()} errors.") from error


def is_signed(body: bytes, headers: dict[str, str], secrets: str) -> bool:
    """Whether one of the secrets (`v1,whsec_…`, joined by `|`) signed this body within the last five minutes.

    Supabase joins several signatures by a comma and a space, the standard by a space, on which its Python library
    fails: so they are found by their form and handed on as the standard wants them.
    """
    signatures = " ".join(f"v1,{found}" for found in _SIGNATURE.findall(headers.get("webhook-signature", "")))
    headers = {**headers, "webhook-signature": signatures}
    for secret in secrets.split("|"):
        try:
            Webhook(secret.strip().removeprefix("v1,")).verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):  # ValueError: not UTF-8, or not base64 after all
            continue
        return True
    return False


def mails_for(settings: Settings, payload: _Payload) -> list[tuple[str, str, Mail]]:
    """The mails of one call as (key, address, mail): one, or two for a change of address. Raises HookError 400."""
    data, user, key = payload.email_data, payload.user, payload.metadata.uuid
    action = data.email_action_type
    if action == "email_change":
        return _address_change(settings, payload)
    if action == "reauthentication":
        return [(key, _address(user.email), templates.reauthentication(settings, data.token))]
    if action in templates.NOTICES:
        to = data.old_email if action == "email_changed_notification" and data.old_email else user.email
        details = {"email": user.email, "provider": data.provider, "factor_type": data.factor_type}
        return [(key, _address(to), templates.notice(settings, action, **details))]
    if action not in _SIMPLE:
        raise HookError(400, f"No mail is known for the action {action[:60]!r}.")
    kind = RENEWED_SIGN_UP if action == "signup" and _is_renewed(payload) else action
    link = templates.confirm_link(settings, data.token_hash, kind, next_path(settings, data.redirect_to))
    return [(key, _address(user.email), _SIMPLE[action](settings, link))]


def next_path(settings: Settings, redirect_to: str) -> str:
    """Where the person goes after the click: the path of an address on our own site, else the start page."""
    if not redirect_to.startswith(settings.public_url + "/"):
        return "/"
    return safe_next(redirect_to.removeprefix(settings.public_url))


def _address_change(settings: Settings, payload: _Payload) -> list[tuple[str, str, Mail]]:
    """One mail to each address: `token_hash_new` belongs to the current one, `token_hash` to the new one.

    A project that asks the new address alone sends no second pair.
    """
    data, user, key = payload.email_data, payload.user, payload.metadata.uuid
    where = next_path(settings, data.redirect_to)
    link = templates.confirm_link(settings, data.token_hash, "email_change", where)
    mails = [(f"{key}:new", _address(user.new_email), templates.email_change_new(settings, link))]
    if data.token_hash_new:
        link = templates.confirm_link(settings, data.token_hash_new, "email_change", where)
        current = templates.email_change_current(settings, link, user.new_email)
        mails.append((f"{key}:current", _address(user.email), current))
    return mails


def _is_renewed(payload: _Payload) -> bool:
    """Whether the account is older than this sign-up, by Supabase's clock; see `accounts.recovery.RENEWED_SIGN_UP`."""
    created, called = payload.user.created_at, payload.metadata.time
    return created is not None and called is not None and called - created > FIRST_SIGN_UP_WITHIN


def _address(email: str) -> str:
    if not email:
        raise HookError(400, "The user has no address for this mail.")
    return email


def _enqueue(services: AccountServices, payload: _Payload, mails: list[tuple[str, str, Mail]]) -> None:
    with services.db.session() as session:
        profile = session.get(Profile, payload.user.id)
        for key, to, content in mails:
            mail.enqueue(session, to, content, key, profile.account_id if profile else None)
