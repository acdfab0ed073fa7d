"""From locks to bytes that are the same everywhere: layers, images, Debian bases, paths of the Nix store.

From outside: `workshop` makes images, `image` computes their IDs. Imports `environments` and the rooms below it.
"""
