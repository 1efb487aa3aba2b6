"""The sixteen channels of GK-2A AMI and their calibration.

Numbers: KMA's AMI calibration table v3.0. The gains, offsets and band corrections of the infrared channels equal the
attributes of full-disk files of 2025-07-19; those of the visible channels were not checked against a second source.
Table v3.1 (2019-11-15) shifts the response of IR133; its wavenumber here is that of v3.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eozoo_core import ZooError
from eozoo_core.errors import did_you_mean

if TYPE_CHECKING:
    import numpy as np

LIGHT, BOLTZMANN, PLANCK = 2.99792458e8, 1.380649e-23, 6.62607015e-34  # m/s, J/K, J s (SI, exact)
QUALITY_SHIFT = 14  # the quality flag is in the two highest bits, for every channel


@dataclass(frozen=True)
class Channel:
    """One channel.

    kind:       "rf", albedo (a ratio of radiances, about 0..1.3, not divided by the cosine of the solar zenith angle),
                or "bt", brightness temperature in K.
    wave_um:    central wavelength in micrometres, from the table.
    metres:     native pixel size.
    valid_bits: the low bits that hold the count.
    gain, offset: radiance = gain * count + offset, in W m-2 sr-1 um-1 (rf) or mW m-2 sr-1 (cm-1)-1 (bt).
    albedo:     rf: albedo = radiance * this.
    wavenumber: bt: of Planck's law, in cm-1. The file's attribute channel_center_wavelength is rounded and would give
                errors of up to 3 K.
    tbb:        bt: c0, c1, c2 from effective to brightness temperature.
    """

    name: str
    kind: str
    wave_um: float
    metres: int
    valid_bits: int
    gain: float
    offset: float
    albedo: float = 0.0
    wavenumber: float = 0.0
    tbb: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def calibrate(self, count: np.ndarray) -> np.ndarray:
        """Counts (any shape, fractions allowed) -> float64 albedo or brightness temperature in K.

        A radiance of zero or less has no temperature: NaN.
        """
        import numpy as np

        radiance = np.asarray(count, np.float64) * self.gain + self.offset
        if self.kind == "rf":
            return radiance * self.albedo
        sigma = self.wavenumber * 100  # m-1
        with np.errstate(divide="ignore", invalid="ignore"):
            spectral = np.where(radiance > 0, radiance, np.nan) * 1e-5  # W m-2 sr-1 (m-1)-1
            effective = PLANCK * LIGHT * sigma / BOLTZMANN / np.log1p(2 * PLANCK * LIGHT**2 * sigma**3 / spectral)
        c0, c1, c2 = self.tbb
        return c0 + c1 * effective + c2 * effective**2

    def counts(self, value: np.ndarray) -> np.ndarray:
        """Albedo or brightness temperature in K -> the nearest count that the channel can hold, uint16.

        The inverse of ``calibrate``, for simulated files; values beyond the channel's range saturate.
        """
        import numpy as np

        value = np.asarray(value, np.float64)
        if self.kind == "rf":
            radiance = value / self.albedo
        else:
            c0, c1, c2 = self.tbb
            effective = (value - c0) / c1
            for _ in range(3):  # c2 is tiny: the fixed point converges at once
                effective = (value - c0 - c2 * effective**2) / c1
            sigma = self.wavenumber * 100
            radiance = 2e5 * PLANCK * LIGHT**2 * sigma**3 / np.expm1(PLANCK * LIGHT * sigma / (BOLTZMANN * effective))
        count = np.rint((radiance - self.offset) / self.gain)
        return np.clip(count, 0, 2**self.valid_bits - 1).astype(np.uint16)


# fmt: off
RF = (
    Channel("vi004", "rf", 0.4702, 1000, 11, 0.363545805215835, -7.27090454101562, albedo=0.001558245),
    Channel("vi005", "rf", 0.5086, 1000, 11, 0.343625485897064, -6.87249755859375, albedo=0.0016595767),
    Channel("vi006", "rf", 0.6394, 500, 12, 0.154856294393539, -6.19424438476562, albedo=0.001924484),
    Channel("vi008", "rf", 0.863, 1000, 13, 0.0457241721451282, -3.65792846679687, albedo=0.0032723873),
    Channel("nr013", "rf", 1.374, 2000, 12, 0.0346878096461296, -1.38751220703125, albedo=0.0087081313),
    Channel("nr016", "rf", 1.6092, 2000, 11, 0.0498007982969284, -0.996017456054687, albedo=0.0129512876),
)
BT = (
    Channel("sw038", "bt", 3.82749, 2000, 14, -0.00108296517282724, 17.699987411499,
            wavenumber=2612.67737352111, tbb=(-0.447843939824124, 1.00065568090389, -6.33824089912448e-08)),
    Channel("wv063", "bt", 6.18196, 2000, 12, -0.0108914673328399, 44.1777038574218,
            wavenumber=1617.60924253134, tbb=(-1.76279494011147, 1.00414910562278, -9.83309114319385e-07)),
    Channel("wv069", "bt", 6.93686, 2000, 13, -0.00818779878318309, 66.7480773925781,
            wavenumber=1441.57542876017, tbb=(-0.334311414359106, 1.00097359874468, -4.94603070252304e-07)),
    Channel("wv073", "bt", 7.32467, 2000, 13, -0.0096982717514038, 79.0608520507812,
            wavenumber=1365.24999202444, tbb=(-0.0613124859696595, 1.00019008722941, -1.05863656750499e-07)),
    Channel("ir087", "bt", 8.58406, 2000, 13, -0.0144806550815701, 118.050903320312,
            wavenumber=1164.94939285634, tbb=(-0.141418528203155, 1.00052232906885, -3.6287276076109e-07)),
    Channel("ir096", "bt", 9.61575, 2000, 13, -0.0178435463458299, 145.464874267578,
            wavenumber=1039.96021677611, tbb=(-0.114017728158198, 1.00047380585402, -3.74931509928403e-07)),
    Channel("ir105", "bt", 10.35032, 2000, 13, -0.0198196955025196, 161.580139160156,
            wavenumber=966.153383926055, tbb=(-0.142866448475177, 1.00064069572049, -5.50443294960498e-07)),
    Channel("ir112", "bt", 11.21437, 2000, 13, -0.0216744858771562, 176.713439941406,
            wavenumber=891.71305730126, tbb=(-0.249111718496148, 1.00121166873756, -1.13167964011665e-06)),
    Channel("ir123", "bt", 12.33640, 2000, 13, -0.023379972204566, 190.649627685546,
            wavenumber=810.60900787123, tbb=(-0.458113885722738, 1.00245520975535, -2.53064314720476e-06)),
    Channel("ir133", "bt", 13.26980, 2000, 13, -0.0243037566542625, 198.224365234375,
            wavenumber=753.590621482278, tbb=(-0.0938521568527657, 1.00053982112966, -5.94913715312849e-07)),
)
# fmt: on
CHANNELS = {channel.name: channel for channel in (*BT, *RF)}


def channel(name: str) -> Channel:
    """Return the channel called ``name`` (any case). Raises ZooError for a name that AMI does not have."""
    if name.lower() not in CHANNELS:
        raise ZooError(f"no AMI channel is called {name!r}.{did_you_mean(name.lower(), CHANNELS)}")
    return CHANNELS[name.lower()]
