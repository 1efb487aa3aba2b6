"""Step dataset: a registered dataset, of this plugin or another, as patches that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.run.progress import progress_bar
from eozoo_core.run.writing import new_folder
from eozoo_core.run.written import write_array

if TYPE_CHECKING:
    from eozoo_core.task import Registry

    from eozoo_gedi_sparse.prepare.settings import DatasetSettings


def make_from_dataset(settings: DatasetSettings, registry: Registry, quiet: bool = False) -> list[Path]:
    """Write every sample as INPUT_DIR/SPLIT/NAME_000000.npy and the same below LABEL_DIR; return the two folders.

    Samples are dicts with "image" (C, H, W) and "target" (1, H, W), NaN = missing. Raises ZooError where no dataset is
    named, a folder holds something, or a sample is not of these shapes. The folders appear when all is written.
    """
    if settings.source is None:
        raise ZooError("prepare.dataset.source.name is not set; 'eozoo show gedi_sparse' lists the datasets that fit")
    folders = [Path(folder) / settings.split for folder in (settings.input_dir, settings.label_dir)]
    for folder in folders:
        if folder.is_dir() and any(folder.iterdir()):
            raise ZooError(f"{folder}: is not empty; choose another prepare.dataset.input_dir and label_dir")
    name = settings.source.name
    dataset = registry.create("dataset", name, settings.source.options)
    if not len(dataset):
        raise ZooError(f"dataset {name!r}: holds no sample; check prepare.dataset.source.options")
    with new_folder(folders[0]) as images, new_folder(folders[1]) as targets:  # half a dataset would look like a whole
        _write(dataset, name, [images, targets], quiet)
    return folders


def _write(dataset: Any, name: str, folders: list[Path], quiet: bool) -> None:
    with progress_bar(name, len(dataset), "samples", quiet) as bar:
        for i in range(len(dataset)):
            for folder, array in zip(folders, _arrays(dataset[i], name, i), strict=True):
                write_array(folder / f"{name}_{i:06d}.npy", array)
            bar.update(i + 1)


def _arrays(sample: Any, name: str, i: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(sample, dict) or not {"image", "target"} <= set(sample):
        raise ZooError(f"dataset {name!r}: sample {i} has no 'image' and 'target'; report it to its plugin")
    image, target = (np.asarray(sample[key], np.float32) for key in ("image", "target"))
    if image.ndim != 3 or target.shape != (1, *image.shape[1:]):
        raise ZooError(
            f"dataset {name!r}: sample {i} has image {image.shape} and target {target.shape}, expected (C, H, W) and "
            "(1, H, W)"
        )
    return image, target
