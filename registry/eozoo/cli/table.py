"""What ``eozoo list`` shares with other verbs; apart from ``options``, which imports more than a list may take."""

from __future__ import annotations

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Format rows of text as aligned columns, without colour: safe in pipes and files."""
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [columns, *rows]]
    return "\n".join(line.rstrip() for line in lines)
