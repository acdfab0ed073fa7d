"""The verbs for runs on several machines."""
