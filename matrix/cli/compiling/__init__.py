"""Verbs about compiles themselves, and not about what they made."""
