"""Train, or use what was trained: `python run.py --help`."""

import sys

from dcgan_tf1.cli import main

if __name__ == "__main__":
    sys.exit(main())
