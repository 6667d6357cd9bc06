"""Finding documents by words: BM25 over stems cut at seven letters, with the title counted three times."""

from __future__ import annotations

import math
import re
from collections import Counter

from emulators.valyu.library import Document

_WORD = re.compile(r"[a-z0-9]+")
_COMMON = frozenset(_WORD.findall(
    "a about after all also an and are as at be been but by can did do does for from had has have how if in into is it "
    "its more most much no not of on or over than that the their them then there these they this to was were what when "
    "where which who why will with would you your"
))
_K1, _B, _TITLE_WEIGHT = 1.4, 0.7, 3
_CUT_OFF = 0.3
"""Documents that score below this share of the best one are not worth returning."""


class Index:
    """All documents, counted once."""

    def __init__(self, documents: tuple[Document, ...]) -> None:
        self._documents = documents
        self._counts = [Counter(_stems(f"{f'{doc.title} ' * _TITLE_WEIGHT}{doc.text}")) for doc in documents]
        self._lengths = [count.total() for count in self._counts]
        self._mean_length = sum(self._lengths) / len(documents)
        self._containing = Counter(stem for count in self._counts for stem in count)

    def find(self, query: str) -> list[tuple[Document, float]]:
        """The documents that share words with the query, the best first, with a relevance between 0 and 1."""
        stems = set(_stems(query))
        scores = [(self._score(stems, at), doc) for at, doc in enumerate(self._documents)]
        best = max(score for score, _ in scores)
        if best <= 0:
            return []
        ranked = sorted(((score, doc) for score, doc in scores if score >= best * _CUT_OFF), key=lambda pair: -pair[0])
        return [(doc, round(0.5 + 0.49 * score / best, 3)) for score, doc in ranked]

    def _score(self, stems: set[str], at: int) -> float:
        counts, score = self._counts[at], 0.0
        length = 1 - _B + _B * self._lengths[at] / self._mean_length
        for stem in stems:
            if frequency := counts[stem]:
                containing = self._containing[stem]
                rarity = math.log(1 + (len(self._documents) - containing + 0.5) / (containing + 0.5))
                score += rarity * frequency * (_K1 + 1) / (frequency + _K1 * length)
        return score


def _stems(text: str) -> list[str]:
    """The words of a text without the most common ones, without a plural's s, cut at seven letters."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"[:7]
    plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss")
    return (word[:-1] if plural else word)[:7]
