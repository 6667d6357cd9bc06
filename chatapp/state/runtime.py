"""What the State classes work with. Reflex makes State objects itself, so the composition root leaves it here."""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.chat.answers import Answers
from chatapp.services import Services


@dataclass
class Runtime:
    """The services and the running answers of this process."""

    services: Services
    answers: Answers


_installed: list[Runtime] = []


def install(runtime: Runtime) -> None:
    """Called once by the composition root, and by tests; the last one counts."""
    _installed[:] = [runtime]


def runtime() -> Runtime:
    """What was installed. Raises RuntimeError when a handler runs in an app that was never composed."""
    if not _installed:
        raise RuntimeError("No runtime is installed: import chatapp.chatapp, or call state.runtime.install().")
    return _installed[0]
