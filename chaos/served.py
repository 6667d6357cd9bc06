"""The app without its pages, forked ready from one process: `python -m chaos.served PORT`.

`make run` builds the pages before each start, imports the app (several seconds, in which nothing is at stake), and then
runs Reflex's server, which forks its workers from what it has imported. Here the imports are done once; then each line
on the standard input forks a new server, in a process group of its own, and answers with its process id. So a life
begins with what can go wrong: the migration, the recovery, the first requests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def main() -> None:
    """Import everything, say so, and fork at each line until the input ends."""
    os.environ["REFLEX_ENV_MODE"] = "prod"
    from reflex.utils import exec as reflex_exec
    from reflex.utils import prerequisites
    from reflex_base.config import get_config
    from reflex_base.constants import LogLevel
    from reflex_base.environment import environment

    port, host = int(sys.argv[1]), get_config().backend_host
    environment.REFLEX_SKIP_COMPILE.set(True)
    prerequisites.get_app()

    def serve() -> None:
        reflex_exec.run_backend_prod(host, port, LogLevel.WARNING, False)

    if threading.active_count() > 1:
        raise RuntimeError(f"Threads would be lost by a fork: {threading.enumerate()}")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the app prints belongs to its log
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    print("ready", file=answers)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.close()
            _live(serve)
        with suppress(OSError):  # the child has done it, or is gone already
            os.setpgid(child, child)
        print(child, file=answers)


def _live(serve: Callable[[], None]) -> NoReturn:
    """The child's whole life. Nothing of the parent's is cleaned up at its end."""
    code = 1
    try:
        os.setpgid(0, 0)  # here and in the parent: whoever comes first
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        serve()
        code = 0
    except BaseException:  # whatever it was, the log has it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
