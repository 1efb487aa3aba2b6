"""Floats as bytes: a band's scale and offset are chosen when all its values are known, which bounds the error."""

from __future__ import annotations

import numpy as np
import rasterio

NODATA = -128
_CODES = 254  # steps between -127 and 127
_NONE = 2.0**-40  # scale of a band of one value or none: its code is 0, and a mosaic takes its range for that value


class Packing:
    """Value = code x scale + offset in each band, with codes -127..127 (int8) and `NODATA` for NaN.

    The smallest and the largest value of a band get the outermost codes, so nothing is clipped, and no value is off by
    more than half a scale: 1/508 of what its band spans. A reader that applies the tags gives floats back.
    """

    def __init__(self, bands: int):
        self._low, self._high = np.full(bands, np.inf), np.full(bands, -np.inf)

    @classmethod
    def around(cls, scales: np.ndarray, offsets: np.ndarray) -> Packing:
        """Return what holds all values of packed files, given their scales and offsets (files, bands)."""
        found, reach = cls(scales.shape[1]), (NODATA + 1) * np.asarray(scales)
        found.see((offsets + reach).T[:, :, None])
        found.see((offsets - reach).T[:, :, None])
        return found

    def see(self, values: np.ndarray) -> None:
        """Take note of ``values (bands, n, W)``, NaN = missing."""
        with np.errstate(invalid="ignore"):
            self._low = np.fmin(self._low, np.fmin.reduce(values, axis=(1, 2), initial=np.inf))
            self._high = np.fmax(self._high, np.fmax.reduce(values, axis=(1, 2), initial=-np.inf))

    @property
    def scales(self) -> np.ndarray:
        """The scale of each band (bands,)."""
        with np.errstate(invalid="ignore"):
            span = self._high - self._low
        return np.where(np.isfinite(span) & (span > 0), span / _CODES, _NONE)

    @property
    def offsets(self) -> np.ndarray:
        """The offset of each band (bands,), the middle of its values."""
        with np.errstate(invalid="ignore"):
            middle = (self._low + self._high) / 2
        return np.where(np.isfinite(middle), middle, 0.0)

    @property
    def error(self) -> float:
        """The most by which a value may be off, in its unit."""
        return float(self.scales.max() / 2)

    @property
    def told(self) -> str:
        """The error for people, rounded upwards."""
        return f"{1.005 * self.error:.3g}"

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of ``values (bands, n, W)``."""
        missing = np.isnan(values)
        steps = (np.where(missing, 0, values) - self.offsets[:, None, None]) / self.scales[:, None, None]
        return np.where(missing, NODATA, np.rint(steps)).astype(np.int8)

    def describe(self, dataset: rasterio.io.DatasetWriter) -> None:
        """Write scales and offsets into an open file."""
        dataset.scales, dataset.offsets = self.scales.tolist(), self.offsets.tolist()
