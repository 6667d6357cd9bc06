"""The mails as people get them."""

import re
from html.parser import HTMLParser

import pytest

from chatapp import settings as app_settings
from chatapp.mail import Mail, templates
from chatapp.mail.layout import Button, compose

SETTINGS = app_settings.load({"PUBLIC_URL": "http://localhost:3000", "MAIL_FROM": "Deep Chat <a@chat.example>"})
LINK = templates.confirm_link(SETTINGS, "0" * 56, "signup", "/t/1?a=b&c=d")
ALL = [
    templates.sign_up(SETTINGS, LINK), templates.recovery(SETTINGS, LINK), templates.magic_link(SETTINGS, LINK),
    templates.invite(SETTINGS, LINK), templates.email_change_current(SETTINGS, LINK, "next@example.com"),
    templates.email_change_new(SETTINGS, LINK), templates.reauthentication(SETTINGS, "123456"),
    templates.already_registered(SETTINGS), templates.password_changed(SETTINGS),
    *(templates.notice(SETTINGS, action, email="a@b.example", provider="google", factor_type="totp")
      for action in templates.NOTICES),
]


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("mail", ALL, ids=lambda mail: mail.subject)
def test_every_mail_is_whole_in_both_parts_and_fetches_nothing(mail: Mail) -> None:
    tags = Tags(mail.html)
    assert tags.open == []
    assert not {"img", "link", "script", "iframe", "table"} & {tag for tag, _ in tags.seen}
    assert not any("src" in attributes or "background" in attributes for _, attributes in tags.seen)
    assert "url(" not in mail.html
    assert {attributes.get("content") for tag, attributes in tags.seen if tag == "meta"} >= {"light dark"}
    links = [attributes["href"] for tag, attributes in tags.seen if tag == "a"]
    assert len(links) <= 1
    for link in links:
        assert link in mail.text
    assert mail.subject in mail.text
    assert not re.search(r"[{}<>]", mail.text)
    assert "Deep Chat" in mail.text


def test_a_link_carries_its_token_and_where_to_go(
) -> None:
    assert (
        f"http://localhost:3000/auth/confirm/?token_hash={'0' * 56}&type=signup&next=%2Ft%2F1%3Fa%3Db%26c%3Dd"
    ) == LINK


def test_what_others_wrote_stays_text() -> None:
    evil = '"><img src=x onerror=alert(1)><a href="https://evil.example">x</a>'
    mail = compose(evil, f"{evil}\r\nBcc: b@example.com", [evil], button=Button(evil, f"https://a.example/{evil}"),
                   code=evil, after=evil)
    tags = Tags(mail.html)
    assert [attributes["href"] for tag, attributes in tags.seen if tag == "a"] == [f"https://a.example/{evil}"]
    assert "img" not in {tag for tag, _ in tags.seen}
    assert "\n" not in mail.subject
    assert "\r" not in mail.subject


def test_a_sender_without_a_name_goes_by_the_sites_host() -> None:
    plain = app_settings.load({"PUBLIC_URL": "http://chat.test", "MAIL_FROM": "a@chat.example"})
    assert templates.sender_name(plain) == "chat.test"
