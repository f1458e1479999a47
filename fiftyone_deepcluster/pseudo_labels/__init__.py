"""Pseudo-tasks: the targets of each training batch."""
