"""Whether seams can be told: the label map of overlapping tiles beside that of a single pass.

    python benchmarks/tiles.py BUNDLE [PICTURE ...] [--tile 2048] [--overlap 64 128 256] [--out FILE.json]

Without pictures it draws its own: a mosaic of shapes at the size of training, and one large drawing. Any bundle and any
picture that one pass can take will do (a pass over 12 megapixels needs about 3 GB). Exit status 1 when the overlap in
force gives less than 0.998 of a picture's pixels the label of the single pass.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.pixels import read_image
from data.sources.shapes import ShapesSource
from data.tiles import tile_axis
from model.provenance import git_commit, processor_name
from model.runtime.bundle import Bundle, read_bundle
from model.runtime.engine import EngineConfig
from model.runtime.predictor import OVERLAP, Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

TARGET = 0.998
NEAR = 16


def drawn(side: int) -> dict[str, NDArray[np.uint8]]:
    """A square mosaic of drawings at the size of training, and one drawing of its whole size."""
    rows, columns = -(-side // 192), -(-side // 256)
    small = ShapesSource(1, rows * columns, (192, 256), seed=5)
    parts = [small.load("val", index).image for index in range(rows * columns)]
    mosaic = np.vstack([np.hstack(parts[row * columns : (row + 1) * columns]) for row in range(rows)])
    large = ShapesSource(1, 1, (side, side), seed=6).load("val", 0).image
    return {"mosaic of drawings": np.ascontiguousarray(mosaic[:side, :side]), "one large drawing": large}


def seams(length: int, tile: int, overlap: int, stride: int) -> NDArray[np.intp]:
    """Where tiles meet along one side."""
    return np.asarray([piece.target.start for piece in tile_axis(length, tile, overlap, stride)][1:], dtype=np.intp)


def compare(
    bundle: Bundle, config: EngineConfig, whole: NDArray[np.uint8], image: NDArray[np.uint8], tile: int, overlap: int
) -> dict[str, float | int]:
    """Share of pixels with the label of the single pass: of all, and of those within ``NEAR`` pixels of a seam."""
    tiled = Predictor(bundle, config, max_tile=tile, overlap=overlap).predict(image).label_map
    same = tiled == whole
    near = np.zeros(same.shape, dtype=bool)
    for seam in seams(same.shape[0], tile, overlap, bundle.manifest.stride):
        near[max(0, seam - NEAR) : seam + NEAR] = True
    for seam in seams(same.shape[1], tile, overlap, bundle.manifest.stride):
        near[:, max(0, seam - NEAR) : seam + NEAR] = True
    return {
        "tile": tile,
        "overlap": overlap,
        "same": float(same.mean()),
        "same_near_seams": float(same[near].mean()) if near.any() else 1.0,
        "pixels_near_seams": int(near.sum()),
    }


def main() -> int:
    """Measure, print a table, write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path, nargs="*")
    parser.add_argument("--tile", type=int, nargs="*", default=[2048, 1024], help="longest tiles to try")
    parser.add_argument("--overlap", type=int, nargs="*", default=[32, 64, 128, OVERLAP], help="overlaps to try")
    parser.add_argument("--side", type=int, default=3072, help="of the drawn pictures")
    parser.add_argument("--precision", choices=("f32", "bf16", "auto"), default="f32")
    parser.add_argument("--quick", action="store_true", help="the overlap in force, in small tiles of small pictures")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if options.quick:
        options.tile, options.overlap, options.side = [768], [OVERLAP], 1280
    bundle = read_bundle(options.bundle)
    config = EngineConfig(precision=options.precision)
    pictures = {path.name: read_image(path) for path in options.pictures} or drawn(options.side)
    print(f"{processor_name()}, commit {git_commit()}, {bundle.manifest.name}, {options.precision}")
    rows = []
    for name, image in pictures.items():
        whole = Predictor(bundle, config, max_tile=1 << 20).predict(image).label_map
        print(f"{name}, {image.shape[1]}x{image.shape[0]}, {len(np.unique(whole))} classes in one pass")
        for tile in options.tile:
            for overlap in options.overlap:
                row = {"picture": name, **compare(bundle, config, whole, image, tile, overlap)}
                rows.append(row)
                print(
                    f"  tiles of {tile}, overlap {overlap:3d}: {row['same']:.5%} of all pixels, "
                    f"{row['same_near_seams']:.4%} within {NEAR} of a seam",
                    flush=True,
                )
    missed = [row for row in rows if row["overlap"] == OVERLAP and row["same"] < TARGET]
    print(f"overlap {OVERLAP} in force, at least {TARGET:.1%} the same: {'missed' if missed else 'met'}")
    if options.out:
        facts = {"processor": processor_name(), "commit": git_commit(), "bundle": bundle.manifest.name, "rows": rows}
        options.out.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
