"""A module taken apart: each of its dispatches alone on the inputs that VMVX computed for it, and a reproducer."""
