"""A matching in a bipartite graph: who can be paired with whom, each at most once."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

L = TypeVar("L", bound=Hashable)
R = TypeVar("R", bound=Hashable)


def matching(wishes: Mapping[L, Sequence[R]], first: Iterable[L] = ()) -> dict[L, R]:
    """A largest matching: as many pairs as possible, in which each left one has a right one of its wishes.

    Those in `first` are served before the others; nobody who was served is dropped later on.
    """
    pairs: _Pairs[L, R] = _Pairs(wishes)
    for left in dict.fromkeys([*first, *wishes]):
        pairs.serve(left)
    return pairs.right_of


class _Pairs(Generic[L, R]):
    def __init__(self, wishes: Mapping[L, Sequence[R]]) -> None:
        self._wishes = wishes
        self._left_of: dict[R, L] = {}
        self.right_of: dict[L, R] = {}

    def serve(self, start: L) -> None:
        """Find a shortest way from `start` to somebody free, over those who could take another, and shift them all."""
        came_from: dict[R, L] = {}
        queue = deque([start])
        while queue:
            left = queue.popleft()
            for right in self._wishes[left]:
                if right in came_from:
                    continue
                came_from[right] = left
                if right not in self._left_of:
                    self._shift(right, came_from)
                    return
                queue.append(self._left_of[right])

    def _shift(self, free: R, came_from: Mapping[R, L]) -> None:
        right: R | None = free
        while right is not None:
            left = came_from[right]
            before = self.right_of.get(left)
            self._left_of[right], self.right_of[left] = left, right
            right = before
