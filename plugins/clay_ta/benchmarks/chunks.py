"""From chunk files to the first and to further batches: mapped, against plain ``torch.load`` of whole chunks.

    python plugins/clay_ta/benchmarks/chunks.py [--rows 20000]

The plain way is the documents': torch.load of a chunk, then rows of it. Files are in the page cache for both.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from eozoo_clay_ta.chunks import SCHEMA, PatchStore, chunk_path, write_chunk


def write(folder, rows, chunks):
    """Write chunks of random samples."""
    random = np.random.default_rng(0)
    for number in range(chunks):
        arrays = {name: random.random((rows, *shape), dtype=np.float32) for name, shape in SCHEMA.items()}
        meta = [("2022-01-01T00:00", i % 95, 100, 200) for i in range(rows)]
        write_chunk(chunk_path(folder, "train", number), arrays, meta)


def timed(function, repeat=3):
    """Best seconds of a few calls."""
    best = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def as_dicts(folder, rows):
    """The same chunk with meta as a list of dicts, another reading of the document."""
    content = torch.load(chunk_path(folder, "train", 0), weights_only=True)
    content["meta"] = [{"timestamp_utc": t, "stn": s, "pixel_x": x, "pixel_y": y} for t, s, x, y in content["meta"]]
    torch.save(content, folder / "dicts.pt")
    return folder / "dicts.pt"


def epoch_plain(folder, chunks):
    """Load every chunk whole and take shuffled batches from it."""
    for number in range(chunks):
        content = torch.load(chunk_path(folder, "train", number), weights_only=True)
        order = torch.randperm(len(content["meta"]))
        for rows in order.split(256):
            {name: content[name][rows] for name in SCHEMA}


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--chunks", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.rows, options.chunks)
        file, rows = chunk_path(folder, "train", 0), np.random.default_rng(1).permutation(options.rows)[:256]
        plain = timed(lambda: torch.load(file, weights_only=True)["x"][rows])
        dicts = as_dicts(folder, options.rows)
        plain_dicts = timed(lambda: torch.load(dicts, weights_only=True)["x"][rows])
        opened = timed(lambda: PatchStore(folder, "train")) / options.chunks
        plain_epoch = timed(lambda: epoch_plain(folder, options.chunks))
        store = PatchStore(folder, "train")
        anywhere = np.random.default_rng(2).permutation(len(store))
        pieces = [anywhere[i : i + 256] for i in range(0, len(anywhere), 256)]
        times = []
        for piece in pieces:
            start = time.process_time()
            store.batch(piece)
            times.append(time.process_time() - start)
    times = np.array(times) * 1e3
    print(f"{options.chunks} chunks of {options.rows} samples, batches of 256, CPU seconds of one thread")
    print(f"plain torch.load to a batch            {plain * 1e3:8.1f} ms   (meta as dicts {plain_dicts * 1e3:.1f} ms)")
    print(f"mapped, opening, once a run, per chunk {opened * 1e3:8.1f} ms   (its list of meta)")
    middle = float(np.median(times))
    print(f"mapped, a shuffled batch               {middle:8.2f} ms   {plain * 1e3 / middle:.0f} times as fast")
    print(
        f"worst of {len(times)} batches                  {times.max():8.2f} ms   plain stalls for {plain * 1e3:.0f} ms"
    )
    mapped = times.sum() / 1e3
    print(f"an epoch, plain {plain_epoch:.2f} s, mapped {mapped:.2f} s: {plain_epoch / mapped:.1f} times as fast")


if __name__ == "__main__":
    main()
