"""What ``infer`` is pointed at: ``--input``, or a search of a STAC API."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from eozoo_core.sources.search import Search

_HELP = "File, folder, pattern, .txt of names, URL, Zarr store, SAFE product, or STAC (file or URL)."


def source_options(command: Callable) -> Callable:
    """Add --input and the options of a search; ``command`` gets one ``source``, a Path or a Search."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, source: str | None, stac: str | None, collections: tuple[str, ...], bbox: str | None, dates: str,
        where: tuple[str, ...], **others: Any,
    ) -> Any:  # fmt: skip
        asked = {"--collection": collections, "--bbox": bbox, "--dates": dates, "--where": where}
        if stac is None and any(asked.values()):
            raise click.UsageError(f"{next(name for name, value in asked.items() if value)} belongs to --stac API.")
        if (source is None) == (stac is None):
            raise click.UsageError("Give --input SRC, or a search: --stac API --collection NAME --bbox W,S,E,N.")
        if source is not None:
            from eozoo_core.raster.address import named

            source = named(source)
        found = source if stac is None else _search(stac, collections, bbox, dates, where)
        return command(*args, source=found, **others)

    for option in (
        click.option("--where", multiple=True, metavar="COND", help='Of a search: "eo:cloud_cover<20"; repeatable.'),
        click.option("--dates", default="", metavar="A/B", help="Of a search: 2024-05-01/2024-09-30."),
        click.option("--bbox", metavar="W,S,E,N", help="Of a search, in degrees: only this part is mapped."),
        click.option("--collection", "collections", multiple=True, metavar="NAME", help="Of a search; repeatable."),
        click.option("--stac", metavar="API", help="Search a STAC API instead of --input."),
        click.option("--input", "source", metavar="SRC", help=_HELP),
    ):
        wrapped = option(wrapped)
    return wrapped


def _search(stac: str, collections: tuple[str, ...], bbox: str | None, dates: str, where: tuple[str, ...]) -> Search:
    from eozoo_core.errors import ZooError
    from eozoo_core.sources.search import Search

    if not collections:
        raise ZooError(f"--stac {stac}: name what to search, --collection NAME")
    try:
        box = tuple(float(text) for text in bbox.split(",")) if bbox else None
    except ValueError:
        box = ()
    if box is not None and len(box) != 4:
        raise ZooError(f"--bbox {bbox}: expected four numbers, west,south,east,north in degrees")
    return Search(stac, collections, box, dates, where)
