"""`python -m dcgan_tf1`, the same as `run.py`."""

import sys


def main() -> int:
    """Run the command line, whose import takes a while. Returns the exit code."""
    try:
        from dcgan_tf1.cli import main

        return main()
    except KeyboardInterrupt:  # before or after `cli.main` tells of one
        return 130


if __name__ == "__main__":
    sys.exit(main())
