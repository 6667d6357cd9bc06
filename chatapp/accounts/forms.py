"""What people type, checked before it goes anywhere."""

from __future__ import annotations

import re

from chatapp.accounts.errors import AccountError

EMAIL_LIMIT = 254
PASSWORD_MINIMUM = 8
PASSWORD_LIMIT_BYTES = 72
"""Supabase hashes with bcrypt, which reads no further."""
NAME_LIMIT = 100

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}@[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]+\.[^\s@.]{2,}")
_COMMON_TEXT = """
    12345678 123456789 1234567890 0123456789 987654321 11111111 00000000 12341234 11223344 88888888 87654321
    password password1 password12 password123 passw0rd p@ssw0rd p@ssword qwertyui qwertyuiop qwerty12 qwerty123
    qwerty1234 1q2w3e4r 1q2w3e4r5t 1qaz2wsx zaq12wsx q1w2e3r4 asdfghjk asdfghjkl zxcvbnm1 abcd1234 abc12345 a1b2c3d4
    iloveyou iloveyou1 sunshine princess football baseball basketball superman batman123 trustno1 starwars whatever
    dragon123 monkey123 letmein1 letmein123 welcome1 welcome123 admin123 administrator changeme changeme1 computer
    internet michelle jennifer jordan23 charlie1 samsung1 liverpool chelsea1 mustang1 corvette mercedes secret123
    aaaaaaaa abcdefgh abcdefg1 test1234 testtest default1 access14 freedom1 hello123 pokemon1 chatapp1
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def email_address(text: str) -> str:
    """The address in the form in which Supabase keeps it: trimmed, in lower case. Raises AccountError."""
    email = text.strip().lower()
    if len(email) > EMAIL_LIMIT or not _EMAIL.fullmatch(email):
        raise AccountError("email_invalid", field="email")
    return email


def new_password(password: str, email: str = "") -> str:
    """The password unchanged, if it may be chosen: long enough, not too long, not a common one. Raises AccountError."""
    if len(password) < PASSWORD_MINIMUM:
        raise AccountError("password_short", field="password")
    if len(password.encode()) > PASSWORD_LIMIT_BYTES:
        raise AccountError("password_long", field="password")
    simple = password.lower()
    if simple in _COMMON or len(set(simple)) < 3 or simple in (email, email.partition("@")[0]):
        raise AccountError("password_common", field="password")
    return password


def known_password(password: str) -> str:
    """A password to sign in with: anything that Supabase could have taken. Raises AccountError."""
    if not password:
        raise AccountError("password_missing", field="password")
    if len(password.encode()) > PASSWORD_LIMIT_BYTES:
        raise AccountError("invalid_credentials", field="password")
    return password


def display_name(text: str) -> str:
    """A name for display: one line, without control characters, cut to a sane length."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:NAME_LIMIT]
