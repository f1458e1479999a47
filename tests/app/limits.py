"""Timeout of the App tests."""

LONG = 300_000
"""Milliseconds; long enough for a busy machine, as only a failing test waits that long."""
