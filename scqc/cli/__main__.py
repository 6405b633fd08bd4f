"""``python -m scqc.cli``."""

import sys

from scqc.cli import main

sys.exit(main())
