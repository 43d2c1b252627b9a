"""Average weights of `buildings-aerial` and write model.json beside them.

    python examples/package_buildings_aerial.py a.safetensors b.safetensors [--out folder] [--network maskrcnn]

The mean of weights that come from one start is better than each of them (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from train_buildings_aerial import DECODER, MASKS, UNET

from geoseg.classes import ClassInfo
from geoseg.model import ZOO, ModelSpec

BUILDING = ClassInfo(1, "building", "#c0392b")
COMMON = {
    "bands": ("red", "green", "blue"),
    "mean": (127.5, 127.5, 127.5),
    "std": (127.5, 127.5, 127.5),
    "resolution_range_m": (0.15, 0.5),
    "tile_px": 512,
    "license": "Apache-2.0",
}
BOUNDARY = ModelSpec(
    "buildings-aerial",
    description="Buildings in RGB aerial imagery of 0.1 to 0.5 m. Taught by one Nepali town: fine-tune it elsewhere.",
    classes=(ClassInfo(0, "background", "#e4e4de"), BUILDING, ClassInfo(2, "building boundary", "#33333d")),
    resolution_m=0.2,
    overlap_px=128,
    margin_px=32,
    divisor=32,
    decoding="boundary",
    min_score=0.7,
    grow_px=5,
    architecture="Unet",
    arguments={"encoder_name": UNET["encoder_name"], "decoder_channels": DECODER},
    accuracy={"F1": 0.654, "PQ": 0.511},
    sources=(
        "Banepa, Nepal: OpenAerialMap imagery, CC-BY-4.0; OpenStreetMap footprints, ODbL 1.0",
        "Semantic segmentation of aerial imagery, Humans in the Loop and MBRSC, CC0 1.0",
        "NAIP imagery, public domain, with land cover of the Chesapeake Conservancy, CC0",
        "Scenes drawn by geoseg.synthetic, Apache-2.0",
        "EfficientNet-Lite0 weights of ImageNet, Apache-2.0",
    ),
    parameters=4_657_315,
    **COMMON,
)
FINDER = ModelSpec(
    "buildings-maskrcnn",
    description="Buildings by a small Mask R-CNN; made for comparison.",
    classes=(BUILDING,),
    resolution_m=0.25,
    overlap_px=128,
    task="instance-segmentation",
    decoding="maskrcnn",
    min_score=0.5,
    max_overlap=0.5,
    architecture="MaskRCNN",
    arguments=MASKS,
    **COMMON,
)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--network", choices=("boundary", "maskrcnn"), default="boundary")
    parser.add_argument(
        "--out", type=Path, help="the package's folder; by default that of the models that geoseg brings"
    )
    args = parser.parse_args()
    spec = BOUNDARY if args.network == "boundary" else FINDER
    out = args.out or ZOO / spec.name
    out.mkdir(parents=True, exist_ok=True)
    states = [load_file(path) for path in args.weights]
    mean = {}
    for name, value in states[0].items():
        floating = value.is_floating_point()
        mean[name] = torch.stack([state[name].float() for state in states]).mean(0).half() if floating else value
    save_file(mean, out / spec.weights)
    (out / spec.weights).chmod(0o644)
    print(spec.with_file(out / spec.weights).write(out))


if __name__ == "__main__":
    main()
