"""What ``eozoo check gedi_sparse`` knows of patches beyond what they say themselves."""

from __future__ import annotations

from eozoo_core.checking import Channel, Expected, Separation, channel
from eozoo_core.errors import ZooError

from eozoo_gedi_sparse.data import Patches
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS

_LABELS = {  # unit -> the label; above the tallest trees and the densest forests known
    "m": Channel("height", "m", -10, 120),
    "Mg/ha": Channel("biomass density", "Mg/ha", -50, 1500),
}
_REMEDIES = {
    "nodata": "set data.input_nodata, or data.zero_is_nodata_in",
    "label_nodata": "set data.label_nodata",
    "bands": "leave it out with data.bands",
}
_SHOWN = ("B2", "B3", "B4", "B8", "B11", "VV")


def expected_of(unit: str) -> Expected:
    """Return what labels of ``unit`` and the documented bands look like."""
    bands = {name: channel(name, "reflectance 0..1") for name in DOCUMENTED_BANDS}
    bands |= {name: Channel(name, "(dB + 30) / 30", -0.5, 1.5) for name in ("VV", "VH")}
    return Expected(_LABELS[unit], bands, _REMEDIES, _SHOWN)


def gap_between(data: Patches, gap: int) -> Separation:
    """Return the metres that step ``patches`` leaves between splits, where a patch says how large a pixel is."""
    try:
        grid = data.grid(0)
    except ZooError:  # told where the patch is read
        return Separation()
    if not gap or grid.transform is None or grid.crs is None or not grid.crs.is_projected:
        return Separation()
    metres = gap * abs(grid.transform.a) * grid.crs.linear_units_factor[1]
    return Separation(metres, f"prepare.patches.gap={gap} px")
