"""`python -m chaos`: kill the app again and again, and prove that its books are right. Exit code 1 if they are not."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos.house import DidNotStart
from chaos.run import Options, run
from chaos.verdict import Verdict


def main() -> int:
    """Run, print a line for each kill and the table. Returns 1 if a figure is wrong, 2 if nothing could be tested."""
    arguments = _arguments()
    options = Options(arguments.kills, arguments.people, arguments.seed, arguments.database == "postgres")
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        verdict = asyncio.run(_interruptible(options, folder))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Interrupted; all processes are ended.", file=sys.stderr)
        return 130
    except DidNotStart as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{verdict.table()}\nseed {options.seed}: {'all is right' if verdict.right else 'SOMETHING IS WRONG'}")
    if verdict.right and not arguments.keep:
        shutil.rmtree(folder)
    else:
        print(f"logs and books: {folder}")
    return 0 if verdict.right else 1


async def _interruptible(options: Options, folder: Path) -> Verdict:
    """The run; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, folder, lambda text: print(text, flush=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often the app is killed (default: 200)")
    parser.add_argument("--people", type=int, default=12, help="how many people ask from the start (default: 12)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="repeat a run's choices")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--keep", action="store_true", help="keep the logs and databases of a run that went well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
