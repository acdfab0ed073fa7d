"""What stages measured.

From outside: `counts` has the instructions of a call over the releases, `figures` the records of times, sizes and the
disk that a run holds beside its cells, `systems` sets IREE and other systems side by side.
"""
