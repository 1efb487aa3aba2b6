"""Trained encoders on whole series: which dates they see, and NaN where too few are clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import Port, ZooError
from eozoo_core.settings import Named

from eozoo_barlow_twins.permutation import key32
from eozoo_barlow_twins.settings import SelectDates
from eozoo_barlow_twins.views import even_dates, gather, random_dates

if TYPE_CHECKING:
    import torch
    from eozoo_core.run.directory import Run

Forward = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class EncoderInfo:
    """What is needed to build an encoder again and to feed it; kept in run.json under "encoder"."""

    backbone: Named
    bands: tuple[str, ...]
    sample_size: int
    min_valid: int

    def note(self, run: Run) -> None:
        """Keep it in the run."""
        run.note("encoder", {
            "backbone": self.backbone.model_dump(mode="json"),
            "bands": list(self.bands),
            "sample_size": self.sample_size,
            "min_valid": self.min_valid,
        })  # fmt: skip

    @classmethod
    def of(cls, run: Run) -> EncoderInfo:
        """Read it from a run. Raises ZooError where the run has none."""
        kept = run.info().get("encoder")
        if kept is None:
            raise ZooError(f"{run.path}: run.json describes no encoder; was it trained? 'eozoo train {run.task}'")
        return cls(Named.model_validate(kept["backbone"]), tuple(kept["bands"]), kept["sample_size"], kept["min_valid"])


def create(registry: Any, kind: str, named: Named, fixed: dict[str, Any]) -> Any:
    """Build a registered model or loss with its options and those that follow from the data.

    Raises ZooError where an option is given that follows from the data.
    """
    doubled = sorted(set(fixed) & set(named.options))
    if doubled:
        raise ZooError(f"{kind} {named.name}: option {doubled[0]!r} follows from the data settings; leave it out")
    if registry is None:
        from eozoo_barlow_twins import plugin

        specs = {"model": plugin.eozoo_models, "loss": plugin.eozoo_losses}[kind]()
        found = next((s for s in specs if s.name == named.name), None)
        if found is None:
            raise ZooError(f"{kind} {named.name!r} is not of this plugin, and no registry was given to find it in")
        return found.load()(**named.options, **fixed)
    return registry.create(kind, named.name, {**named.options, **fixed})


def build_encoder(registry: Any, info: EncoderInfo) -> Any:
    """Build the encoder with fresh weights; its embedding size is ``encoder.backbone.latent_dim``."""
    from eozoo_barlow_twins.networks import Encoder

    fixed = {"in_channels": len(info.bands), "sample_size": info.sample_size}
    backbone = create(registry, "model", info.backbone, fixed)
    if not isinstance(getattr(backbone, "latent_dim", None), int):
        raise ZooError(f"model {info.backbone.name!r} has no 'latent_dim': an encoder says how long its embedding is")
    return Encoder(backbone, len(info.bands))


def series_ports(info: EncoderInfo | None, standardise: Any = None) -> tuple[Port, Port]:
    """What ``predict_batch`` takes, for cards: the bands where ``info`` knows them, statistics of ``standardise``."""
    statistics = ((), ()) if standardise is None else (standardise.mean.tolist(), standardise.std.tolist())
    bands = () if info is None else info.bands
    return (
        Port("bands", "B T C", "reflectance x 10000, NaN = not clear", bands, *map(tuple, statistics)),
        Port("doys", "B T", "day of year 1..366", dtype="int64"),
    )


class SeriesEncoder:
    """Applies a network to whole series.

    forward: (bands (B, L, C), doys (B, L)) -> (B, K) on ``device``, for example the encoder in eval mode.
    outputs: K. The results of the passes are averaged.
    """

    def __init__(self, forward: Forward, outputs: int, info: EncoderInfo, select: SelectDates, device: str):
        self._forward, self.outputs, self._info, self._select, self._device = forward, outputs, info, select, device

    def __call__(self, bands: np.ndarray, clear: np.ndarray, doys: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Encode ``bands (n, T, C)`` digital numbers where ``clear (n, T)``; doys (T,), items (n,) name the pixels.

        Returns (n, K) float32; NaN where no more than ``min_valid`` dates are clear.
        """
        out = np.full((len(bands), self.outputs), np.nan, np.float32)
        usable = np.flatnonzero(clear.sum(axis=1) > self._info.min_valid)
        for start in range(0, len(usable), self._select.batch_size):
            part = usable[start : start + self._select.batch_size]
            out[part] = self._mean(bands[part], clear[part], doys, items[part])
        return out

    def _mean(self, bands: np.ndarray, clear: np.ndarray, doys: np.ndarray, items: np.ndarray) -> np.ndarray:
        import torch

        total = 0.0
        with torch.inference_mode():
            for dates in self._dates(clear, items):
                values, days = gather(bands, dates, doys)
                result = self._forward(
                    torch.from_numpy(values.astype(np.float32)).to(self._device),
                    torch.from_numpy(days.astype(np.int64)).to(self._device),
                )
                total = total + result.float()
        return (total / self._select.passes).cpu().numpy()

    def _dates(self, clear: np.ndarray, items: np.ndarray) -> Iterator[np.ndarray]:
        for number in range(self._select.passes):
            if self._select.selection == "even":
                yield even_dates(clear, self._info.sample_size, number, self._select.passes)
            else:
                yield random_dates(clear, self._info.sample_size, key32(self._select.seed, number), items)


def predict_batch(encoder: SeriesEncoder, batch: dict[str, np.ndarray], channels: int) -> np.ndarray:
    """Encode what ``Task.predict`` is given.

    ``bands`` (N, T, C) digital numbers, NaN = not clear; ``doys`` (N, T) days of year; ``masks`` (N, T), optional,
    1 = clear. Raises ZooError for anything of another shape, and days out of 1..366.
    """
    for name in ("bands", "doys"):
        if name not in batch:
            raise ZooError(f"predict: the batch has no array {name!r}; give bands (N, T, C) and doys (N, T)")
    bands, doys = np.asarray(batch["bands"]), np.asarray(batch["doys"])
    if bands.ndim != 3 or bands.shape[2] != channels or doys.shape != bands.shape[:2]:
        raise ZooError(f"predict: bands {bands.shape} and doys {doys.shape}, expected (N, T, {channels}) and (N, T)")
    if doys.size and (doys.min() < 1 or doys.max() > 366):
        raise ZooError(f"predict: doys hold {doys.min()} to {doys.max()}; a day of year is 1..366")
    clear = np.isfinite(bands).all(axis=2)
    if "masks" in batch:
        clear &= np.asarray(batch["masks"]) != 0
    out = np.full((len(bands), encoder.outputs), np.nan, np.float32)
    _, groups = np.unique(doys, axis=0, return_inverse=True)
    for group in np.unique(groups):  # samples with the same dates go together
        rows = np.flatnonzero(groups.ravel() == group)
        out[rows] = encoder(bands[rows], clear[rows], doys[rows[0]].astype(np.int64), rows)
    return out
