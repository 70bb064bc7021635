"""Entry point of the command: python -m influence_core.cli."""

import sys

from influence_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
