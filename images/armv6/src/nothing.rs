// Cargo wants a target; only the sources of the dependency are used.
