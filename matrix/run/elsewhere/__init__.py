"""Work that other processes carry out, on this machine or on others: what goes there, what comes back, who takes it."""
