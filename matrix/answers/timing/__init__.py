"""How long dispatches take beside what they execute: of one release, and of two by operation. Pure."""
