"""`python -m matrix`."""

import _signal  # type: ignore[import-not-found]
import sys

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C amid the imports ends quietly; `main` takes it over
# `signal` itself imports for several milliseconds, in which Ctrl-C would still print a traceback.

from matrix.cli.main import main  # noqa: E402

sys.exit(main())
