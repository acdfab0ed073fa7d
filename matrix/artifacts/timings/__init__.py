"""How long each dispatch of a module takes, from what two tools leave: captures of Tracy, and rows of `iree-profile`.

`dispatch_times` has the one record of both. Files may be hostile. Pure.
"""
