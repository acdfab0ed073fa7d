"""Which flags make a model cheaper with one release: the search over sets of flags, and what is said of it. Pure."""
