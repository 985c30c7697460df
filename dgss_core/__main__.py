"""Makes `python -m dgss_core` the `dgss` command."""

import sys

from dgss_core.cli import main

sys.exit(main())
