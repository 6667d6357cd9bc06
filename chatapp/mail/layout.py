"""The one layout of all mails: a line of text is a paragraph, at most one button, at most one code.

No images and nothing fetched from elsewhere, so nobody is tracked and nothing is blocked; colours that read well when
a mail program turns them dark; and the same words in the plain-text part.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; supported-color-schemes: light dark; }
body { margin: 0; padding: 24px 16px; background: #f4f4f5; color: #18181b;
  font: 16px/1.55 -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
.card { max-width: 520px; margin: 0 auto; padding: 32px; border-radius: 12px; background: #ffffff; }
h1 { margin: 0 0 16px; font-size: 21px; line-height: 1.3; }
p { margin: 0 0 16px; }
.button { display: inline-block; padding: 12px 22px; border-radius: 8px; background: #2447d8; color: #ffffff;
  font-weight: 600; text-decoration: none; }
.code { font: 600 30px/1 ui-monospace, Menlo, Consolas, monospace; letter-spacing: 6px; }
.small { font-size: 13px; color: #63636b; word-break: break-word; }
.foot { max-width: 520px; margin: 16px auto 0; text-align: center; }
@media (prefers-color-scheme: dark) {
  body { background: #111113; color: #ededef; }
  .card { background: #1b1b1f; }
  .small { color: #a0a0ab; }
}
"""


@dataclass(frozen=True)
class Mail:
    """A mail ready to send, without its address: the subject is one line, `html` a whole document."""

    subject: str
    html: str
    text: str


@dataclass(frozen=True)
class Button:
    """The one thing to do; `url` is shown in full below it and in the plain text."""

    label: str
    url: str


def compose(
    sender: str, subject: str, paragraphs: list[str], *, button: Button | None = None, code: str = "", after: str = ""
) -> Mail:
    """Lay out a mail.

    Args:
        sender: the product's name, for the last line.
        subject: also the heading; line breaks become spaces, for a subject is a header.
        paragraphs: plain text; escaped here.
        button: what to click.
        code: what to type, in large digits.
        after: a last paragraph in small print: what to do if one did not ask for this mail.
    """
    subject = " ".join(subject.split())
    html = [f"<h1>{escape(subject)}</h1>", *(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)]
    text = [subject, *paragraphs]
    if code:
        html.append(f'<p class="code">{escape(code)}</p>')
        text.append(code)
    if button is not None:
        url = escape(button.url)
        html.append(f'<p><a class="button" href="{url}">{escape(button.label)}</a></p>')
        html.append(f'<p class="small">Or copy this address into your browser:<br>{url}</p>')
        text.append(f"{button.label}:\n{button.url}")
    if after:
        html.append(f'<p class="small">{escape(after)}</p>')
        text.append(after)
    text.append(f"-- \n{sender}")
    return Mail(subject, _document(subject, "\n".join(html), sender), "\n\n".join(text) + "\n")


def _document(subject: str, content: str, sender: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{escape(subject)}</title>
<style>{_STYLE}</style>
</head>
<body>
<div class="card">
{content}
</div>
<p class="small foot">{escape(sender)}</p>
</body>
</html>
"""
