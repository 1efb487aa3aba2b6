"""A small world for every task, a stranger's too: data, settings, an uninterrupted training, its scores and maps."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from eozoo.registry import Registry
from eozoo.testing.equality import checkpoint_difference, difference
from eozoo_core.run.checkpoint import load_checkpoint
from eozoo_core.settings.config import load_settings, to_dict, to_yaml

from benchmarks import forked
from benchmarks.marks import Kill, Marks, marking

STRANGER = "snow"  # what ``eozoo new`` writes, as a plugin that is installed
_QUIET = (
    "runtime.device=cpu", "runtime.workers=0", "runtime.tensorboard=false", "runtime.threads=1",
    "train.epochs=3", "train.steps=null", "train.schedule.warmup_steps=0", "train.save_every_steps=2",
)  # fmt: skip
SMALL: dict[str, tuple[str, ...]] = {  # overrides that make networks and samples small
    "barlow_twins": (
        "data.val_share=0.2", "data.val_samples=128", "train.batch_size=256", "eval.draws=1", "eval.trees=5",
        "eval.shares=[0.1]", "infer.passes=1",
        "model.backbone={name: btfm_mlp, options: {latent_dim: 8, hidden_dim: 16}}",
    ),
    "clay_ta": (
        "model.encoder=clay_micro", "model.encoder_input_size=8", "model.hidden=16", "train.batch_size=512",
        "infer.stride=6",
    ),
    "gedi_sparse": ("model.options.width=4", "data.crop=32", "train.members=1"),
    "prithvi_refine": (
        "data.max_samples=8", "train.batch_size=2", "model.num_convnext_blocks=1", "train.validate_every=1",
    ),
}  # fmt: skip
SECONDS = 120  # what ends later hangs: the slowest takes 10


@dataclass(frozen=True)
class World:
    """``home`` has data, settings.yaml and ``whole``: a run and its maps that nobody disturbed.

    marks: verb -> what it did, and for how many seconds.
    """

    task: str
    home: Path
    source: Path
    marks: dict[str, tuple[Marks, float]]
    undisturbed: str = "whole"

    @property
    def whole(self) -> Path:
        """The folder of what nobody disturbed."""
        return self.home / self.undisturbed

    def words(self, verb: str, place: Path) -> list[str]:
        """Return the command line of a verb on ``place``/run, and for maps ``place``/maps."""
        more = {
            "train": ["--config", str(self.home / "settings.yaml")],
            "eval": [],
            "infer": ["--input", str(self.source), "--output", str(place / "maps")],
        }
        return [verb, self.task, "--run", str(place / "run"), *more[verb], "--quiet"]

    def start(self, verb: str, place: Path, kill: Kill | None = None) -> tuple[forked.Running, Path]:
        """Start a verb; return it, and the file that it marks its phases in."""
        import time

        marks = self.home / "marks.txt"
        marks.unlink(missing_ok=True)
        before = marking(marks, self.task, time.monotonic(), kill)
        return forked.start(self.words(verb, place), self.home / "said.txt", "", before), marks

    def prepare(self, verb: str, place: Path) -> None:
        """Make ``place`` as it is before ``verb``: nothing, or a trained run."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if verb != "train":
            shutil.copytree(self.whole / "run", place / "run")
        if verb == "eval":
            for file in (place / "run").glob("eval_*"):
                shutil.rmtree(file) if file.is_dir() else file.unlink()


def make(task: str, home: Path) -> World:
    """Write the world of ``task`` and train, score and map it once; what is there already is taken."""
    cls = Registry.discover().get("task", task)
    home.mkdir(parents=True, exist_ok=True)
    sample = cls.sample(home / "data")
    overrides = [*_QUIET, *SMALL.get(task, ())]
    (home / "settings.yaml").write_text(to_yaml(load_settings(cls.Settings, None, overrides, to_dict(sample.settings))))
    world = World(task, home, Path(sample.source), {})
    shutil.rmtree(world.whole, ignore_errors=True)
    world.whole.mkdir()
    for verb in ("train", "eval", "infer"):
        running, marks = world.start(verb, world.whole)
        code, said = running.wait(SECONDS)
        if code:
            raise RuntimeError(f"{task}: {verb} fails undisturbed ({code}): {said[-2000:]}")
        world.marks[verb] = Marks.read(marks, running.seconds), running.seconds
    return world


def wrong(world: World, place: Path, maps: bool) -> str | None:
    """Return the first difference to what nobody disturbed: weights, log, scores, and pixels where there are ``maps``.

    None = every tensor, number and pixel is the same.
    """
    if found := checkpoint_difference(world.whole / "run", place / "run", without=("config",)):
        return found
    one, two = (load_checkpoint(folder / "run" / "best.pt") for folder in (world.whole, place))
    one.pop("config"), two.pop("config")
    if found := difference(one, two, "best.pt"):
        return found
    for file in sorted((world.whole / "run").glob("eval_*.json")):
        other = place / "run" / file.name
        if not other.exists():
            return f"{file.name}: is missing"
        one, two = (json.loads(f.read_text())["scores"] for f in (file, other))
        if found := difference(one, two, file.name):
            return found
    return wrong_maps(world, place) if maps else None


def wrong_maps(world: World, place: Path) -> str | None:
    """Return the first difference of maps."""
    whole, found = (
        sorted(f.relative_to(d / "maps") for f in (d / "maps").rglob("*.tif")) for d in (world.whole, place)
    )
    if whole != found:
        return f"maps: {found}, expected {whole}"
    for name in whole:
        one, two = (_pixels(folder / "maps" / name) for folder in (world.whole, place))
        if one.shape != two.shape or not np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
            return f"maps: {name} has other pixels"
    return None


def install_stranger(home: Path) -> None:
    """Write the plugin of ``eozoo new`` into ``home`` and install it there, for this process and its children."""
    made = home / "eozoo_snow-0.1.0.dist-info"
    if not made.exists():
        shutil.rmtree(home / STRANGER, ignore_errors=True)
        eozoo = Path(sys.executable).with_name("eozoo")
        subprocess.run([eozoo, "new", STRANGER, "--in", home], check=True, stdout=subprocess.DEVNULL)
        made.mkdir(parents=True)
        name = "Metadata-Version: 2.1\nName: eozoo-snow\nVersion: 0.1.0\nRequires-Dist: eozoo\n"
        (made / "METADATA").write_text(name)
        (made / "entry_points.txt").write_text("[eozoo]\nsnow = eozoo_snow.plugin\n")
    for folder in (home, home / STRANGER):
        sys.path.append(str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(home), str(home / STRANGER)])
    importlib.invalidate_caches()


def _pixels(file: Path) -> Any:
    with rasterio.open(file) as opened:
        return opened.read()
