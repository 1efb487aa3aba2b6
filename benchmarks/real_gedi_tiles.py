"""The Nicaragua tiles: bands and RH95 as arrays, features of the labelled pixels, and the simple predictors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EOZOO_DATA", ROOT.parent / "shared" / "data")) / "gedi_sparse" / "nicaragua_s2s1_gedi"
TILES = tuple(range(8))  # 116_0 ... 116_7, a block of 2 rows x 4 columns
BANDS = tuple(range(12))  # B01 ... B08, B8A, B09, B11, B12 of Sentinel-2, reflectance 0..1
MASK_BAND, RH95 = 2, 2  # zeros of input band 2 are no data; label band 2 is RH95 in m
SQUARES = (3, 7, 15)  # px: sides of the neighbourhoods whose means the simple predictors may see

Shots = tuple[np.ndarray, np.ndarray | None]  # mean (n,) and std (n,) at the labelled pixels of a tile, m


@dataclass(frozen=True)
class Tile:
    """One tile: image (12, H, W) with NaN = missing, target (H, W) in m with NaN = no shot."""

    image: np.ndarray
    target: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """True (H, W) at a shot."""
        return np.isfinite(self.target)

    @property
    def heights(self) -> np.ndarray:
        """RH95 (n,) of the shots, row by row, m."""
        return self.target[self.labelled]

    def features(self, squares: tuple[int, ...]) -> np.ndarray:
        """Bands of each shot's pixel, then their means in the squares around it: (n, 12 (1 + squares))."""
        maps = [self.image, *(square_mean(self.image, size) for size in squares)]
        return np.concatenate([m[:, self.labelled] for m in maps]).T


def files(number: int) -> tuple[Path, Path]:
    """Input and label file of tile ``number``."""
    return DATA / f"X_tile_tile_116_{number}.npy", DATA / f"y_tile_tile_116_{number}.npy"


def load(number: int) -> Tile:
    """Read a tile and mask its empty rows."""
    image, label = (np.load(file, allow_pickle=False) for file in files(number))
    empty = image[MASK_BAND] == 0
    image, target = image[list(BANDS)], label[RH95].copy()
    image[:, empty], target[empty] = np.nan, np.nan
    return Tile(image, target)


def square_mean(image: np.ndarray, size: int) -> np.ndarray:
    """Mean of (C, H, W) in the square of ``size`` px (odd) around each pixel, of what is there."""
    there = np.isfinite(image)
    return _square_sum(np.where(there, image, 0.0), size) / np.maximum(_square_sum(there, size), 1)


def _square_sum(image: np.ndarray, size: int) -> np.ndarray:
    half = size // 2
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (half + 1, half)
        total = np.pad(image.astype(np.float64), pad).cumsum(axis)
        last, first = [slice(None)] * 3, [slice(None)] * 3
        last[axis], first[axis] = slice(size, None), slice(None, -size)
        image = total[tuple(last)] - total[tuple(first)]
    return image


def nearest_shots(tiles: list[Tile]) -> dict[str, float]:
    """How alike the nearest shots of a tile are: their median distance (px), and their standard deviation around the
    mean of the pair (m): half of the mean squared difference, rooted. What is left at that distance no map of 10 m
    pixels smoother than that can explain; it holds the error of the shots and of their places.
    """
    distances, squares = [], []
    for tile in tiles:
        place = np.argwhere(tile.labelled).astype(float)
        between = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
        np.fill_diagonal(between, np.inf)
        nearest = between.argmin(axis=1)
        distances.append(between.min(axis=1))
        squares.append((tile.heights - tile.heights[nearest]) ** 2)
    spread = float(np.sqrt(np.concatenate(squares).astype(np.float64).mean() / 2))
    return {"distance_px": float(np.median(np.concatenate(distances))), "spread_m": spread}


def training_mean(train: list[Tile], test: Tile, seed: int) -> Shots:
    """Mean and standard deviation of the training shots, everywhere."""
    heights = np.concatenate([t.heights for t in train])
    return np.full(test.heights.shape, heights.mean()), np.full(test.heights.shape, heights.std())


def ridge(train: list[Tile], test: Tile, squares: tuple[int, ...]) -> Shots:
    """Ridge regression; its penalty is the one that leaves the least error on training tiles left out in turn."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.model_selection import LeaveOneGroupOut
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.concatenate([t.features(squares) for t in train]), np.concatenate([t.heights for t in train])
    groups = np.repeat(np.arange(len(train)), [t.heights.size for t in train])
    folds = list(LeaveOneGroupOut().split(x, y, groups))
    search = RidgeCV((1, 10, 100, 1000), cv=folds, scoring="neg_mean_squared_error")
    penalty = search.fit(StandardScaler().fit_transform(x), y).alpha_
    model = make_pipeline(StandardScaler(), Ridge(penalty)).fit(x, y)
    return model.predict(test.features(squares)), None


def forest(train: list[Tile], test: Tile, squares: tuple[int, ...], seed: int, extra: bool = False) -> Shots:
    """300 trees on a third of the features per split, at least 3 shots a leaf; ``extra``: extremely random ones."""
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    kind = ExtraTreesRegressor if extra else RandomForestRegressor
    model = kind(300, min_samples_leaf=3, max_features=1 / 3, random_state=seed)
    model.fit(np.concatenate([t.features(squares) for t in train]), np.concatenate([t.heights for t in train]))
    return model.predict(test.features(squares)), None


SIMPLE = {
    "training mean": training_mean,
    "ridge, pixel": lambda train, test, seed: ridge(train, test, ()),
    "ridge, pixel and means": lambda train, test, seed: ridge(train, test, SQUARES),
    "random forest, pixel": lambda train, test, seed: forest(train, test, (), seed),
    "random forest, pixel and means": lambda train, test, seed: forest(train, test, SQUARES, seed),
    "extra trees, pixel and means": lambda train, test, seed: forest(train, test, SQUARES, seed, extra=True),
}
