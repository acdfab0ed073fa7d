"""The verbs of boards."""
