"""What to pin: the newest tested set for a question, as requirements with hashes, and a set of one's own checked."""
