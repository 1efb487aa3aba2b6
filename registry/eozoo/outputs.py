"""What ``infer`` leaves beside the maps of many scenes: a mosaic of each layer, a STAC collection, a merged file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.progress import print_message

if TYPE_CHECKING:
    from eozoo_core import Run, Task
    from eozoo_core.raster.maps_in import Group, MapFile

    from eozoo.collection import Model


def finish(task: Task, run: Run, dest: Path, merge: bool) -> list[Path]:
    """Write what belongs to all maps of ``run`` in ``dest``, and return the files.

    DEST/mosaic_LAYER.vrt, DEST/collection.json with DEST/items, and the card of the model: where there are two scenes
    or more. DEST/merged_LAYER.tif with ``merge``, when no scene is waited for. All is made from what is there, so
    several workers may call it: who comes last sees all.

    Raises ZooError, with all maps left, where maps that are to be merged differ in CRS or pixel size.
    """
    from eozoo_core.raster.maps_in import groups_of, maps_in
    from eozoo_core.raster.vrt import is_merged, require_one
    from eozoo_core.task.ensemble import best_hash
    from eozoo_core.task.made_from import CHECKPOINT

    maps, others = maps_in(dest, {CHECKPOINT: best_hash(run, task.settings)})
    groups, quiet = groups_of(maps), task.settings.runtime.quiet
    stores = sum(path.is_dir() and not path.name.startswith(".") for path in dest.rglob("*.zarr"))
    if merge and stores and not maps:
        raise ZooError(f"--merge: the maps in {dest} are Zarr; merging takes GeoTIFF, --format cog")
    if stores > 1 and not quiet:
        print_message(f"{dest}: {stores} Zarr stores are in no mosaic and no collection; --format cog gives such maps")
    if len({one.scene for one in maps}) < 2 and not merge:
        return []
    if others and not quiet:
        print_message(f"{dest}: {others} maps of other runs are left out of mosaic and collection")
    if merge:
        require_one(groups, maps)
    placed = sum(len(group.maps) for of_layer in groups.values() for group in of_layer)
    if placed < len(maps) and not quiet:
        print_message(f"{dest}: {len(maps) - placed} maps have no CRS or place, or are turned; they are in no mosaic")
    mosaics = _mosaics(dest, groups, quiet)
    merged = _merged(dest, maps, groups, quiet) if merge else []
    from eozoo.collection import write_collection

    if not maps:
        return []
    there = [dest / f"merged_{layer}.tif" for layer, (group, *_) in groups.items()
             if is_merged(group, dest / f"merged_{layer}.tif")]  # fmt: skip
    return [*mosaics, *merged, write_collection(dest, maps, _model(task, run, dest), [*mosaics, *there])]


def _mosaics(dest: Path, groups: Mapping[str, Sequence[Group]], quiet: bool) -> list[Path]:
    """Write a VRT for every group of a layer, and remove those of earlier calls that are none any more."""
    from eozoo_core.raster.maps_in import MOSAIC
    from eozoo_core.raster.vrt import error_of, write_vrt

    written = []
    for layer, of_layer in groups.items():
        for number, group in enumerate(of_layer):
            crs = group.crs.lower().replace(":", "") if group.first.info.grid.crs.to_epsg() else "other"
            path = dest / (f"mosaic_{layer}_{crs}.vrt" if number else f"mosaic_{layer}.vrt")
            while path in written:  # another pixel size
                path = path.with_stem(f"{path.stem}_{number}")
            written.append(write_vrt(group, path))
            _tell(path, group, error_of(group), quiet)
        if len(of_layer) > 1 and not quiet:
            told = [f"{len(g.maps)} in {g.crs} with pixels of {g.first.info.grid.transform.a:g}" for g in of_layer]
            print_message(f"{dest}: the maps of {layer} are in {len(told)} mosaics: {', '.join(told[:4])}")
    for path in set(dest.glob("mosaic_*.vrt")) - set(written):
        with path.open("rb") as file:
            ours = f'<MDI key="{MOSAIC}">'.encode() in file.read(2**14)
        if ours:
            path.unlink(missing_ok=True)
    return written


def _tell(path: Path, group: Group, error: str, quiet: bool) -> None:
    if group.between and not quiet:
        print_message(
            f"{path}: {group.between} of {len(group.maps)} maps lie between its pixels; they are shown at the nearest, "
            "half a pixel off at most"
        )
    if error and not quiet:
        print_message(f"{path}: int8, no value is off by more than {error}")


def _merged(dest: Path, maps: Sequence[MapFile], groups: Mapping[str, Sequence[Group]], quiet: bool) -> list[Path]:
    """Merge the maps of each layer, unless a scene is still to come or another worker merges them."""
    from eozoo_core.raster.vrt import RULE, merge
    from eozoo_core.run.lease import Held, take

    if waiting := list(dest.rglob(".*_maps.writer.json")):
        print_message(f"--merge: {len(waiting)} scenes are not done; the same command merges when they are")
        return []
    paths = {layer: dest / f"merged_{layer}.tif" for layer in groups}
    if taken := {one.path for one in maps} & set(paths.values()):
        raise ZooError(f"--merge: {taken.pop()} is the map of a scene called merged; rename the scene's file")
    try:
        lease = take(dest / ".merged.writer.json", str(dest), "another --output", wait=False)
    except Held as other:
        print_message(f"--merge: the maps are being merged by {other.holder}")
        return []
    try:
        for layer, path in paths.items():
            (group,) = groups[layer]
            if not quiet:
                size = f"{group.grid.width:,} x {group.grid.height:,} px"
                print_message(f"{path}: {len(group.maps)} maps, {size}; {RULE}")
            merge(group, path)
    finally:
        lease.release()
    return list(paths.values())


def _model(task: Task, run: Run, dest: Path) -> Model:
    """The card of the run, as a STAC item where stac-model is installed, else as a page; one that is there is left."""
    from importlib.util import find_spec

    from eozoo_core.run.written import is_current, write_text

    from eozoo.collection import Model

    own = task.registry.own
    path = dest / ("model.json" if find_spec("stac_model") else "model.md")
    if not is_current(path, *run.path.rglob("best.pt")):
        from eozoo.cards import describe, markdown

        cards = describe(task.registry, own.qualified, run)
        if path.suffix == ".json":
            from eozoo.stac import make_item

            write_text(path, _json(make_item(cards, path)))
        else:
            write_text(path, markdown(cards))
    return Model(own.spec.name, own.spec.summary, path)


def _json(content: dict) -> str:
    import json

    return json.dumps(content, indent=1, allow_nan=False) + "\n"
