"""`python -m benchmarks [answer|billing] …`: an answer's way to the page (the default), or the billing core."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run the benchmark that the first argument names, with the others; without a name it is `answer`."""
    if arguments[:1] == ["billing"]:
        from benchmarks.billing import command  # here, so that it needs no browser, and the other no Postgres

        return command.main(arguments[1:])
    from benchmarks import answer

    return answer.main(arguments[1:] if arguments[:1] == ["answer"] else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
