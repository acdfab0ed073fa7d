"""What changed between two dates though no release did. `changes` may be imported from outside."""
