"""Step inspect: what a chunk holds, one sample of it, and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import ZooError

from eozoo_clay_ta.chunks import META, SCHEMA, Chunk, open_chunk
from eozoo_clay_ta.pictures import sample_picture
from eozoo_clay_ta.sample_schema import BUILD, NAMES


def inspect_chunk(file: str, index: int, folder: Path, out: Path) -> tuple[str, Path]:
    """Return a description of ``file`` (or of the first training chunk in ``folder``) and the picture of sample
    ``index``, which is drawn into ``out``.

    Raises ZooError where there is no chunk, no such sample, or another schema.
    """
    path = Path(file) if file else next(iter(sorted(Path(folder).glob("train_chunk_*.pt"))), None)
    if path is None:
        raise ZooError(f"{folder}: holds no training chunk; run {BUILD} or set runtime.data_dir")
    chunk = open_chunk(path)
    if not index < len(chunk):
        raise ZooError(f"{path}: has samples 0 to {len(chunk) - 1}, there is no {index}")
    x = chunk.tensors["x"][index].numpy()
    about = dict(zip(META, chunk.meta[index]))
    picture = Path(out) / f"{path.stem}_sample_{index}.png"
    sample_picture(x, picture, f"{path.name}, sample {index}: station {about['stn']}, {about['timestamp_utc']} UTC")
    return "\n".join([*_chunk_lines(chunk), *_sample_lines(chunk, index, about)]), picture


def _chunk_lines(chunk: Chunk) -> list[str]:
    lines = [f"{chunk.path}: {len(chunk)} samples"]
    for name in SCHEMA:
        values = chunk.tensors[name].numpy()
        bad = int((~np.isfinite(values)).sum())
        shape, text = (
            str(tuple(values.shape)),
            f"min {values.min():.4g}  mean {values.mean():.4g}  max {values.max():.4g}",
        )
        lines.append(f"  {name:17} {shape:20} {values.dtype}  {text}  not finite {bad}")
    lines.append(f"  {'meta':17} {len(chunk.meta)} x ({', '.join(META)})")
    stations, times = ({m[i] for m in chunk.meta} for i in (1, 0))
    lines.append(f"  {len(stations)} stations, {len(times)} times from {min(times)} to {max(times)} UTC")
    return lines


def _sample_lines(chunk: Chunk, index: int, about: dict) -> list[str]:
    one = {name: chunk.tensors[name][index].numpy() for name in SCHEMA}
    lines = [f"sample {index}: " + ", ".join(f"{k} {v}" for k, v in about.items()), f"  y {float(one['y']):.4f}"]
    lines.append("  time7 " + " ".join(f"{v:.3f}" for v in one["time7"]))
    lines.append(
        "  loc " + " ".join(f"{v:.4f}" for v in one["loc"]) + f"  land cover {int(one['landcover_onehot'].argmax())}"
    )
    lines += [f"  x {name:6} centre {one['x'][i, 4, 4]:8.3f}  from {one['x'][i].min():8.3f} to {one['x'][i].max():8.3f}"
              for i, name in enumerate(NAMES)]  # fmt: skip
    return lines
