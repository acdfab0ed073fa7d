"""What is read from artifacts that lie in the store: profiles. Nothing is run.

From outside: `profiles`.
"""
