"""How long tests of the App wait for a state that may never come."""

LONG = 300_000
"""Milliseconds, enough on however busy a machine: no test passes by it, and only a broken one waits for it."""
