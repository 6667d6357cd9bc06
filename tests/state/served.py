"""The real app as a process, without its front end: `python -m tests.state.served PORT INVENTORY`.

Before it serves, it writes to the file INVENTORY what a browser could reach: every event handler that Reflex has
registered, with its parameters, and every HTTP route, so that no test needs a list that somebody must keep.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import uvicorn
from reflex_base.environment import environment
from reflex_base.registry import RegistrationContext
from starlette.routing import Route

from chatapp import chatapp


def inventory() -> dict[str, object]:
    """Event handlers as name → parameters; routes as (path, methods); State classes by full name."""
    registered = RegistrationContext.get()
    return {
        "handlers": {name: [parameter for parameter in inspect.signature(found.handler.fn).parameters
                            if parameter != "self"]
                     for name, found in registered.event_handlers.items()},
        "routes": [[route.path, sorted(route.methods or ())] for route in chatapp.api.routes
                   if isinstance(route, Route)],
        "states": sorted(registered.base_states),
        "methods": {cls.get_full_name(): sorted(name for name, value in vars(cls).items()
                                                if inspect.isfunction(value) and not name.startswith("_"))
                    for cls in registered.base_states.values() if cls.__module__.startswith("chatapp.")},
    }


def main() -> None:
    """Serve until the process is ended."""
    port, file = sys.argv[1:]
    environment.REFLEX_SKIP_COMPILE.set(True)
    application = chatapp.app()
    Path(file).write_text(json.dumps(inventory()))
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="warning", ws_max_size=2**26,
                timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
