"""The command `crosspoint`."""

import io
import sys


def main() -> None:
    """Run the command line; the process ends with the exit code that `crosspoint --help` documents."""
    from router.cli.main import cli  # noqa: PLC0415 - `import router.__main__` stays without effects

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal that lacks a letter shows a mark for it
    sys.exit(cli.main(prog_name="crosspoint", standalone_mode=True))


if __name__ == "__main__":
    main()
