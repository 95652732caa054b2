"""`python -m sertbench` is `sertbench`."""

import sys

from sertbench.cli import main

if __name__ == "__main__":  # worker processes load it by another name
    sys.exit(main())
