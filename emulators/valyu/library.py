"""The documents that the emulated search finds: short texts of lasting, general knowledge, written for this purpose.

They lie beside this module in `library/*.md`: a heading is a title, the line below it has the kind of source and the
path of the address, and the paragraph that follows is the text. The host `library.example` is reserved: it has no site.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

HOST = "https://library.example"
PRICES_USD_PER_THOUSAND = {"open": Decimal("0.5"), "web": Decimal("1.5"), "finance": Decimal(8)}
"""What a thousand retrievals cost, by kind of source."""


@dataclass(frozen=True)
class Document:
    """One document; `kind` is a key of the prices."""

    title: str
    path: str
    kind: str
    text: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"{HOST}/{self.path}"

    @property
    def price_usd(self) -> Decimal:
        """What retrieving it once costs."""
        return PRICES_USD_PER_THOUSAND[self.kind] / 1000


def load() -> tuple[Document, ...]:
    """Read all documents, in the order of the files' names."""
    folder = Path(__file__).with_name("library")
    return tuple(_document(part) for path in sorted(folder.glob("*.md")) for part in _parts(path.read_text("utf-8")))


def _parts(text: str) -> list[str]:
    return [part for part in text.split("## ") if part.strip()]


def _document(part: str) -> Document:
    title, place, text = part.strip().split("\n", 2)
    kind, path = place.split()
    return Document(title.strip(), path, kind, text.strip())
