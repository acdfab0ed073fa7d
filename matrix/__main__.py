"""`python -m matrix`."""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C amid the imports ends quietly; `main` takes it over

from matrix.cli.main import main  # noqa: E402

sys.exit(main())
