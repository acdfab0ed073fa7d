"""Front ends of others: what writes a file that IREE imports."""
