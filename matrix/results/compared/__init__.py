"""What of a run is compared, in words.

From outside: `exporters` says who writes the same MLIR and which compilers take it, `targets` how targets, and runtimes
from source beside the wheels of their releases, end.
"""
