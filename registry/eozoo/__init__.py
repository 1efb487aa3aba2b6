"""Finds installed plugins and runs their tasks by name."""
