"""What the profiles of cells say: of one, of two by operation, of two releases in published runs.

From outside: `changes` compares two profiles, `words` says them as text and JSON, `published` finds them in runs.
"""
