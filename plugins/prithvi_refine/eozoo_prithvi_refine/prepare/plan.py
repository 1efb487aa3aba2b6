"""What is known of every product before a pixel is cut: scaling, date, biome. What nothing tells is asked for here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.raster.read import open_reader
from eozoo_core.raster.sentinel2 import Scaling

from eozoo_prithvi_refine.prepare.product_table import Row, read_product_table
from eozoo_prithvi_refine.prepare.products import Product
from eozoo_prithvi_refine.scaling import decide

if TYPE_CHECKING:
    from eozoo_prithvi_refine.settings import PrithviPrepareSettings


@dataclass(frozen=True)
class Planned:
    """A product and how it is cut. scalings: one per band; date: YYYYMMDD or ""; biome: None = by the raster."""

    product: Product
    scalings: tuple[Scaling, ...]
    date: str
    month: int
    biome: int | None

    @property
    def scaling(self) -> str:
        """How values become reflectance, in words."""
        return "; ".join(dict.fromkeys(map(str, self.scalings)))


def plan_products(products: Sequence[Product], how: PrithviPrepareSettings) -> list[Planned]:
    """Plan every product. Raises ZooError for the first of which nothing tells the offset, the month or the biome."""
    table = read_product_table(how.products, [product.name for product in products])
    return [_plan(product, table, how) for product in products]


def _plan(product: Product, table: Mapping[str, Row], how: PrithviPrepareSettings) -> Planned:
    row = table.get(product.name, Row())
    date = row.date or product.date
    month = row.month or (int(date[4:6]) if date else how.month)
    if month is None:
        raise ZooError(f"{product.name}: has no date in its name; set prepare.month, or name it in prepare.products")
    biome = row.biome if row.biome is not None else how.biome
    if biome is None and how.biome_raster is None:
        raise ZooError(
            f"{product.name}: no biome; set prepare.biome (0-16) or prepare.biome_raster, or name it in "
            "prepare.products"
        )
    offset = row.offset if row.offset is not None else how.offset
    scalings = []
    for file, number in product.bands:
        with open_reader(file) as reader:
            scalings.append(decide(reader, (number,), how.scale, offset, "prepare"))
    return Planned(product, tuple(scalings), date, month, biome)
