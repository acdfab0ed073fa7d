"""The engine `nix`: environments as paths of the Nix store, jobs in a sandbox around them.

From outside: `engine`, `making`, `store`. Imports `engines.contract` and lower rooms.
"""
