"""What a compile itself costs: the CPU time of its phases and passes, of one release or of two compared. Pure."""
