"""``python -m ofmu``."""

import sys

from ofmu.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
