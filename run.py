"""Train, or use what was trained: `python run.py --help`."""

import sys

from dcgan_tf1.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
