"""``python -m lamplighter`` is the command."""

import sys

from lamplighter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
