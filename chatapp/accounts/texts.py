"""What people are told, by the short code that pages find in their address as `?error=` or `?notice=`."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    # sign-in
    "invalid_credentials": "This e-mail address and password do not match. Check both, or choose a new password.",
    "email_not_confirmed": "Your address is not confirmed yet. Open the link in the mail that we sent you.",
    "user_banned": "This account is blocked. Write to us if you think that this is a mistake.",
    # sign-up and forms
    "email_invalid": "This does not look like an e-mail address. Write it as name@example.com.",
    "email_refused": "We cannot send mail to this address. Please use another one.",
    "signup_disabled": "New accounts are not possible at the moment.",
    "password_missing": "Please type your password.",
    "password_short": "Please choose a password of at least 8 characters. 15 or more are better.",
    "password_long": "Please choose a shorter password: at most 72 characters, fewer if some are not plain letters.",
    "password_common": "Too many people use this password, so it is guessed at once. Please choose another one.",
    "weak_password": "This password is too easy to guess or is known from a leak. Please choose another one.",
    "same_password": "This is your password already. Please choose another one, or sign in with it.",
    # links in mails
    "otp_expired": "This link has been used already or has expired. Sign in, or ask for a new one.",
    "link_invalid": "This link is incomplete. Open it again from the mail, or ask for a new one.",
    "recovery_expired": "The time for choosing a new password is over. Ask for a new mail.",
    "email_exists": "This address belongs to another account.",
    # good news
    "confirm_other_address": "Thank you. Now open the link in the mail to your other address, too.",
    "password_changed": "Your new password is set. You were signed out everywhere else.",
    "mail_again": "If the address is right and still to be confirmed, the mail is on its way again.",
    "signed_out": "You are signed out.",
    # our bad moments
    "throttled": "That was too often. Please wait {wait}, then try again.",
    "unavailable": "We cannot reach the sign-in service at the moment. Please try again in a minute.",
    "unexpected": "Something went wrong on our side. Please try again.",
}


def wait_text(seconds: float) -> str:
    """A waiting time as people say it: `40 seconds`, `1 minute`, `15 minutes`; rounded up."""
    if seconds <= 90:
        whole = max(1, -int(-seconds // 1))
        return "1 second" if whole == 1 else f"{whole} seconds"
    return f"{-int(-seconds // 60)} minutes"
