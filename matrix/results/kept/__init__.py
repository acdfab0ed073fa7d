"""Published runs kept by date and machine: in columns, compressed, whole. `archive` may be imported from outside."""
