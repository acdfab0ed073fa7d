"""Which dispatch of a module departs from the reference: what `blame` says."""
