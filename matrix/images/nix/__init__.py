"""The locked environments as paths of a Nix store. Nix runs `builder`.

Imports `images` and lower rooms; `builder` and `environment_tree` import the standard library, `core.errors` and two
modules of `images` only.
"""
