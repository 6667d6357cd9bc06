"""`python -m emulators`: serve all emulators on the address in EMULATORS_URL (http://localhost:8900)."""

from __future__ import annotations

import uvicorn
from dotenv import load_dotenv

from emulators.app import build
from emulators.config import from_environment


def main() -> None:
    """Read .env and the environment, then serve until interrupted."""
    load_dotenv()
    config = from_environment()
    print(f"Emulators: {config.url}  (console, mail inbox, faults)", flush=True)
    # h11 is named because the faults that break a connection off are tested with it.
    uvicorn.run(
        build(config), host="127.0.0.1", port=config.port, http="h11", log_level="warning", timeout_graceful_shutdown=2
    )


if __name__ == "__main__":
    main()
