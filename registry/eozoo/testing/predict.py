"""Checks of ``predict``: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError

from eozoo.testing.equality import array_difference
from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    import numpy as np
    from eozoo_core import Port
    from eozoo_core.task import Arrays

_CUT_TOLERANCE = 1e-3  # of the largest value: another batch size may add up in another order, even in bfloat16
_SAME = 1e-6  # of the largest value: the same batch, but for one sample


def outputs_have_units(bench: Bench, folder: Path) -> None:
    """``predict`` gives exactly the float arrays that ``outputs`` names, each with a unit."""
    import numpy as np

    task, run = bench.open(bench.copy(bench.finished.path, folder))
    units, batch = task.outputs(), bench.batch()
    samples = len(next(iter(batch.values())))
    predicted = task.predict(run, batch)
    assert predicted.keys() == units.keys(), (
        f"predict() gives {sorted(predicted)}, outputs() names {sorted(units)}: they must be the same"
    )
    for name, unit in units.items():
        assert isinstance(unit, str) and unit.strip(), f"outputs() gives {name!r} the unit {unit!r}; '1' = plain number"
        array = predicted[name]
        assert isinstance(array, np.ndarray), f"predict() gives {name!r} as {type(array).__name__}, not a numpy array"
        assert array.dtype.kind == "f", f"predict() gives {name!r} as {array.dtype}: only floats can say NaN = no data"
        assert array.shape[:1] == (samples,), f"predict() gives {name!r} {array.shape} for {samples} samples"


def predict_is_repeatable(bench: Bench, folder: Path) -> None:
    """``predict`` gives the same twice, the same for a sample alone, and leaves the arrays given as they are."""
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    batch = bench.batch()
    first, second = task.predict(run, batch), task.predict(run, bench.batch())
    assert not (found := array_difference(first, second)), (
        f"predict() gave something else the second time: {found}; use eval mode, and no random numbers"
    )
    assert not (found := array_difference(batch, bench.batch())), f"predict() changed the arrays given to it: {found}"
    alone = task.predict(run, {name: array[:1] for name, array in bench.batch().items()})
    found = array_difference({name: array[:1] for name, array in first.items()}, alone, _CUT_TOLERANCE)
    assert not found, f"predict() of one sample alone differs from it in a batch: {found}; use eval mode"


def missing_stays_missing(bench: Bench, folder: Path) -> None:
    """NaN in an input array gives NaN in every output of that pixel or sample, and finite values away from it."""
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    batch = bench.batch()
    clean = task.predict(run, bench.batch())
    for name, array in batch.items():
        if array.dtype.kind != "f":
            continue
        for hole in _holes(name, array, clean, name in task.tolerates_gaps):
            predicted = task.predict(run, {**bench.batch(), name: hole.array})
            _must_be_missing(hole, predicted)
            _must_be_there(hole, predicted, clean)


def one_bad_sample_spoils_no_other(bench: Bench, folder: Path) -> None:
    """All of one sample missing leaves the predictions of the others as they are."""
    import numpy as np

    task, run = bench.open(bench.copy(bench.finished.path, folder))
    clean = task.predict(run, bench.batch())
    for name, array in bench.batch().items():
        if array.dtype.kind == "f":
            holed = np.concatenate([np.full_like(array[:1], np.nan), array[1:]])
            predicted = task.predict(run, {**bench.batch(), name: holed})
            others = ({o: values[1:] for o, values in found.items()} for found in (clean, predicted))
            assert not (found := array_difference(*others, _SAME)), (
                f"{name}[0] is missing, and predict() gives other samples otherwise than before: {found}; predict "
                "every sample by itself"
            )


def misfits_are_refused(bench: Bench, folder: Path) -> None:
    """An array that is missing, of text, of other axes, bands or samples than the others is one ZooError line."""
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    try:
        inputs = task.network(run).inputs
    except ZooError:
        return  # nothing says what fits; network_is_described tells
    for what, name, batch in _misfits(bench.batch(), inputs):
        try:
            task.predict(run, batch)
        except ZooError as error:
            text = str(error)
        except Exception as error:
            raise AssertionError(
                f"predict() with {what} ended in {type(error).__name__} ({error}), expected a ZooError: check arrays "
                "with eozoo_core.task.predict.check_arrays"
            ) from error
        else:
            raise AssertionError(f"predict() with {what} went through, expected a ZooError")
        assert "\n" not in text, f"the error for {what} has several lines: {text}"
        assert name in text, f"the error for {what} does not name {name!r}: {text}"


def _misfits(batch: Arrays, ports: Iterable[Port]) -> Iterator[tuple[str, str, Arrays]]:
    """Yield (what is wrong, the array that it is wrong with, a batch)."""
    for name, port in ((port.role, port) for port in ports if port.role in batch):
        array, others = batch[name], {other: values for other, values in batch.items() if other != name}
        yield f"no {name!r}", name, others
        yield f"{name!r} as text", name, {**batch, name: array.astype(str)}
        yield f"an axis more in {name!r}", name, {**batch, name: array[..., None]}
        if others:
            yield f"a sample less in {name!r}", name, {**batch, name: array[:-1]}
        axes = port.axes.split()
        if port.bands and len(axes) == array.ndim:
            at = next(i for i, axis in enumerate(axes) if axis == "C" or axis == str(len(port.bands)))
            fewer = array.take(range(array.shape[at] - 1), axis=at)
            yield f"a band less in {name!r}", name, {**batch, name: fewer}


@dataclass(frozen=True)
class _Hole:
    """An array with something missing, and masks by output: where that must be NaN, and where it must be finite."""

    what: str
    array: np.ndarray
    missing: dict[str, np.ndarray]
    there: dict[str, np.ndarray]


def _must_be_missing(hole: _Hole, predicted: Arrays) -> None:
    import numpy as np

    for output, mask in hole.missing.items():
        values = predicted[output][mask]
        assert np.isnan(values).all(), (
            f"{hole.what} is NaN, and yet {output!r} is {values[~np.isnan(values)][0]} there: give NaN where data are "
            "missing (or name the array in tolerates_gaps where single values may be)"
        )


def _must_be_there(hole: _Hole, predicted: Arrays, clean: Arrays) -> None:
    import numpy as np

    for output, mask in hole.there.items():
        lost = mask & np.isfinite(clean[output]) & ~np.isfinite(predicted[output])
        assert not lost.any(), (
            f"{hole.what} is NaN, and {lost.sum()} values of {output!r} far from it became NaN too: fill the hole "
            "before the network, and mask its outputs after it"
        )


def _holes(name: str, array: np.ndarray, clean: Arrays, tolerant: bool) -> Iterator[_Hole]:
    """Yield a whole sample missing, then the smallest hole that the array must pass on: a pixel or a single value."""
    import numpy as np

    i = _first_finite(clean)
    sample = {output: _mask(values, (i,)) for output, values in clean.items()}
    others = {output: ~mask for output, mask in sample.items()}
    yield _Hole(f"all of {name}[{i}]", _holed(array, (i,)), sample, others)
    maps = {o: v for o, v in clean.items() if array.ndim >= 4 and v.ndim >= 3 and v.shape[-2:] == array.shape[-2:]}
    if maps:
        i, row, column = _first_pixel(maps)
        bands = () if tolerant else (0,) * (array.ndim - 3)  # one band, or all of them
        at = (i, *bands, row, column) if bands else (i, ..., row, column)
        height, width = array.shape[-2:]
        rows, columns = np.ogrid[-row : height - row, -column : width - column]
        distance = np.maximum(np.abs(rows), np.abs(columns))
        far = {o: others[o] | (distance >= max(height, width) / 2) for o in maps}
        pixel = {o: _mask(v, (i, ..., row, column)) for o, v in maps.items()}
        yield _Hole(f"{name}{list(at)}".replace("Ellipsis", "..."), _holed(array, at), pixel, far)
    elif not tolerant and array.ndim > 1:
        at = (i, *(0,) * (array.ndim - 1))
        yield _Hole(f"{name}{list(at)}", _holed(array, at), sample, others)


def _first_finite(clean: Arrays) -> int:
    """The first sample in which every output has a finite value."""
    import numpy as np

    good = [np.isfinite(v).reshape(len(v), -1).any(axis=1) for v in clean.values()]
    together = np.logical_and.reduce(good)
    assert together.any(), "predict() gives no sample of Sample.batch with finite outputs"
    return int(together.argmax())


def _first_pixel(maps: Arrays) -> tuple[int, int, int]:
    """The first sample, row and column at which every map is finite."""
    import numpy as np

    good = [np.isfinite(v).reshape(len(v), -1, *v.shape[-2:]).all(axis=1) for v in maps.values()]
    together = np.logical_and.reduce(good)
    assert together.any(), "predict() gives no pixel of Sample.batch with finite outputs"
    i, row, column = np.unravel_index(together.argmax(), together.shape)
    return int(i), int(row), int(column)


def _mask(values: np.ndarray, at: tuple) -> np.ndarray:
    import numpy as np

    mask = np.zeros(values.shape, bool)
    mask[at] = True
    return mask


def _holed(array: np.ndarray, at: tuple) -> np.ndarray:
    import numpy as np

    copy = array.copy()
    copy[at] = np.nan
    return copy
