"""Do the label maps of the served Bento agree with the checkpoint's own? Every val picture, over HTTP.

    python scripts/agreement.py RUN [--root DATA]

Serves ``fcn-segmenter:latest`` in f32 and, where the processor has it, in bf16; prints the share of equal
pixels over the whole split and both mIoUs, and writes them to RUN/agreement.json.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track
from serving import post, running

from data.drawing import encode_png
from model.averaging import network_predict
from model.evaluate import choose_data, evaluate, open_matching
from model.run import Run

LOWEST = {"f32": 0.999, "bf16": 0.995}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--root", type=Path, help="where the run's pictures lie now, if they have moved")
    parser.add_argument("--bento", default="fcn-segmenter:latest")
    options = parser.parse_args()
    run = Run.open(options.run)
    source = open_matching(choose_data(run.config().data, None, options.root), run.labels())
    names = source.names("val")
    predict = network_predict(run.network("best"))
    found = {"pictures": len(names), "checkpoint": {"miou": evaluate(predict, source).scores.miou}}
    checkpoint = [predict(source.load("val", index).image) for index in track(range(len(names)), "checkpoint")]

    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        for precision in LOWEST:
            served: list[np.ndarray] = []
            with running(options.bento, Path(folder) / "server.log", {"FCN_PRECISION": precision}) as url:
                for index in track(range(len(names)), precision):
                    picture.write_bytes(encode_png(source.load("val", index).image))
                    served.append(np.asarray(Image.open(io.BytesIO(post(f"{url}/v1/segment", picture)))))
            equal = sum(int((one == other).sum()) for one, other in zip(served, checkpoint, strict=True))
            answers = iter(served)
            found[precision] = {
                "equal_pixels": equal / sum(labels.size for labels in checkpoint),
                "miou": evaluate(lambda _, answers=answers: next(answers), source).scores.miou,
            }
    (options.run / "agreement.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    for precision, lowest in LOWEST.items():
        if found[precision]["equal_pixels"] < lowest:
            parser.exit(1, f"{precision}: fewer than {lowest:.1%} of the pixels agree\n")


if __name__ == "__main__":
    main()
