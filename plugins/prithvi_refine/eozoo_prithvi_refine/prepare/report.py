"""What ``prepare tiles`` read, skipped and left out, by file and reason, and how places were divided."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eozoo_core.run.written import write_text

from eozoo_prithvi_refine.prepare.plan import Planned

_LISTED = 30  # products that are printed; all are in the JSON


def record(
    planned: Sequence[Planned],
    cut: Sequence[tuple[int, Mapping[str, int]]],
    skipped: Mapping[Path, str],
    splits: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """Return what becomes prepare.json. ``cut``: tiles of each product and how many it lost for which reason."""
    lost: Counter[str] = sum((Counter(reasons) for _, reasons in cut), Counter())
    return {
        "tiles": sum(number for number, _ in cut),
        "left_out": dict(lost),
        "splits": {split: dict(counts) for split, counts in splits.items()},
        "products": [
            {
                "name": one.product.name,
                "date": one.date,
                "month": one.month,
                "biome": "by raster" if one.biome is None else one.biome,
                "scaling": one.scaling,
                "files": [str(file) for file in one.product.files],
                "tiles": number,
                "left_out": dict(reasons),
            }
            for one, (number, reasons) in zip(planned, cut, strict=True)
        ],
        "skipped": [{"file": str(file), "reason": reason} for file, reason in sorted(skipped.items())],
    }


def write_record(folder: Path, made: Mapping[str, Any]) -> Path:
    """Write FOLDER/prepare.json."""
    return write_text(folder / "prepare.json", json.dumps(made, indent=1) + "\n")


def in_words(made: Mapping[str, Any]) -> str:
    """Return the table that is printed: products, skipped files by reason, splits."""
    rows = [
        [one["name"], one["date"] or f"month {one['month']}", str(one["biome"]), str(one["tiles"]), _lost(one)]
        for one in made["products"][:_LISTED]
    ]
    lines = _aligned([["product", "date", "biome", "tiles", "left out"], *rows])
    if len(made["products"]) > _LISTED:
        lines.append(f"... and {len(made['products']) - _LISTED} more products")
    reasons: dict[str, list[str]] = {}
    for one in made["skipped"]:
        reasons.setdefault(one["reason"], []).append(Path(one["file"]).name)
    for reason, files in reasons.items():
        lines.append(f"skipped {files[0]}{f' and {n:,} more' if (n := len(files) - 1) else ''}: {reason}")
    lines += [
        f"{split:<5}  {counts['tiles']:,} tiles of {counts['places']:,} places"
        for split, counts in made["splits"].items()
    ]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _lost(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in one["left_out"].items()) or "-"
