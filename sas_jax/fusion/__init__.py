"""From point features of several teachers to one feature per point (numpy only)."""
