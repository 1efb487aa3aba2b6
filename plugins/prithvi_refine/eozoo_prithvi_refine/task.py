"""The task ``prithvi_refine``: optical images refined by Prithvi in 8 bit with LoRA and a ConvNeXt head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from eozoo_core.settings import Named
from eozoo_core.task import Graph, Network, Plan, Sample, Task

from eozoo_prithvi_refine.plugin import SLOTS
from eozoo_prithvi_refine.settings import (
    DataSettings,
    ModelSettings,
    PrithviInferSettings,
    PrithviRuntimeSettings,
    PrithviSettings,
    PrithviTrainSettings,
)

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.checking import Findings
    from eozoo_core.task import Predictor, Scores


class PrithviRefine(Task):
    """Brings a rough optical image (blue, green, red, NIR; for example made from radar) nearer to a real one."""

    Settings: ClassVar = PrithviSettings
    slots: ClassVar = SLOTS
    settings: PrithviSettings
    prepare_steps: ClassVar = {
        "tiles": "Sentinel-2 or HLS GeoTIFFs under prepare.source -> NPZ tiles in runtime.data_dir, split by place",
        "season_pairs": "tiles of several dates -> the date before as input, in runtime.stage1_dir",
    }

    def outputs(self) -> dict[str, str]:
        """The refined image, and the features that a stage 3 may build on."""
        return {"refined": "reflectance", "features": "1"}

    def train(self, run: Run) -> None:
        """Train refiner and discriminator, and score the test split where there is one."""
        from eozoo_core.run.rank import is_first_process

        from eozoo_prithvi_refine.training import train

        train(run, self.settings, self.registry)
        if is_first_process() and (self.settings.runtime.data_dir / "test").is_dir():
            run.write_scores("test", self.evaluate(run, "test"))

    def plan(self, run: Run) -> Plan:
        """Tiles found, parameters, steps, and predicted memory."""
        from eozoo_prithvi_refine.plan import plan

        return plan(self.settings, self.registry)

    def check(self, findings: Findings) -> None:
        """Tiles, months and biomes, stage-1 outputs, and what splits share."""
        from eozoo_prithvi_refine.checking import check

        check(self.settings, findings)

    def evaluate(self, run: Run, split: str) -> Scores:
        """Score best.pt, its input, an affine fit and an unsharp mask against the target; write a report."""
        from eozoo_prithvi_refine.evaluation import evaluate

        return evaluate(run, self.settings, self.registry, split)

    def predictor(self, run: Run) -> Predictor:
        """``opt_v1 (B, 4, H, W)`` reflectance, ``month (B,)`` 1-12, ``biome (B,)`` 0-16 -> refined and features.

        Bands are B02, B03, B04, B08. A pixel with NaN in any band is NaN in all outputs, a sample without month or
        biome (NaN) entirely. Runs of a ``_tl`` encoder also take ``time (B, 2)`` (year, day of the year) and ``location
        (B, 2)`` (latitude, longitude in degrees); NaN or left out = not known.
        """
        from eozoo_prithvi_refine.maps import make_predictor

        return make_predictor(run, self.settings)

    def network(self, run: Run | None = None) -> Network:
        """The refiner without its discriminator; quantised weights count as what they stand for."""
        from eozoo_prithvi_refine.plan import describe

        return describe(self.settings.model, self.outputs(), run)

    def graph(self, run: Run) -> Graph:
        """The refiner with plain float32 weights, for windows of ``infer.window`` pixels."""
        from eozoo_prithvi_refine.graphs import make_graph

        return make_graph(run, self.settings)

    def infer(self, run: Run, source: Path, dest: Path) -> list[Path]:
        """Refine NPZ tiles (DEST/NAME.npz with opt_v2), GeoTIFF scenes (DEST/NAME_refined.tif) or a folder of them."""
        from eozoo_prithvi_refine.maps import infer

        return infer(run, self.settings, lambda batch: self.predict(run, batch), source, dest)

    def prepare_tiles(self) -> list[Path]:
        """Cut products into tiles; see ``prepare.tiles.prepare_tiles``."""
        from eozoo_prithvi_refine.prepare.tiles import prepare_tiles

        return prepare_tiles(self.settings)

    def prepare_season_pairs(self) -> list[Path]:
        """Pair each tile with the date before it; see ``prepare.tiles.prepare_season_pairs``."""
        from eozoo_prithvi_refine.prepare.tiles import prepare_season_pairs

        return prepare_season_pairs(self.settings)

    @classmethod
    def sample(cls, root: Path) -> Sample:
        """Write synthetic tiles and a scene; its settings train a small Prithvi on them within two minutes.

        The weights on the target and its edges are those of the runs on real tiles, beyond the document's.
        """
        import numpy as np

        from eozoo_prithvi_refine.demo.landscape import landscape, write_world

        world = write_world(root)
        settings = PrithviSettings(
            model=ModelSettings(encoder="prithvi_eo_nano", num_convnext_blocks=2, head_width=16),
            data=DataSettings(tile_size=64),
            train=PrithviTrainSettings(
                epochs=40,
                batch_size=4,
                accumulate=1,
                learning_rate=2e-3,
                validate_every=10,
                checkpoint_every=None,
                target_weight=5.0,
                target_loss=Named(name="identity_edge", options={"edge": 3.0}),
            ),
            # Tensors are small; on a busy machine threads that wait for each other take many times longer than one.
            runtime=PrithviRuntimeSettings(data_dir=world.data_dir, threads=1),
            infer=PrithviInferSettings(window=64, stride=48, biome=4),
        )
        images = np.stack([landscape(4000 + i, 24, 24, 6, 4) for i in range(3)])
        codes = {"month": np.array([6.0, 1.0, 9.0]), "biome": np.array([4.0, 8.0, 12.0])}
        return Sample(settings, world.scene, {"opt_v1": images, **codes})

    def demo(self, run: Run, sample: Sample, out: Path) -> list[Path]:
        """Draw the report's tiles, and the scene before and after."""
        from eozoo_prithvi_refine.demo.pictures import draw_demo

        return draw_demo(run, sample, out)
