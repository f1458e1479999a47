"""Pseudo-tasks: what each batch is taught."""
