"""`python -m dcgan_tf1`, the same as `run.py`."""

import sys

from dcgan_tf1.cli import main

if __name__ == "__main__":
    sys.exit(main())
