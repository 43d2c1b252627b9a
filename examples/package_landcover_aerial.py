"""Write model.json of `landcover-aerial` for the weights beside it: python package_landcover_aerial.py [folder]"""

from __future__ import annotations

import sys
from pathlib import Path

from geoseg.classes import ClassInfo
from geoseg.model import ZOO, ModelSpec

SPEC = ModelSpec(
    "landcover-aerial",
    description="A first land-cover map of aerial RGB imagery. Trained on arid cities: fine-tune it elsewhere.",
    bands=("red", "green", "blue"),
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
    classes=(
        ClassInfo(0, "building", "#c0392b"),
        ClassInfo(1, "road", "#5d6d7e"),
        ClassInfo(2, "vegetation", "#3f8f3a"),
        ClassInfo(3, "water", "#2f6fb0"),
        ClassInfo(4, "bare land", "#d8c690"),
    ),
    resolution_m=0.5,
    resolution_range_m=(0.3, 1.0),
    tile_px=512,
    overlap_px=64,
    margin_px=16,
    divisor=32,
    architecture="Unet",
    arguments={"encoder_name": "tu-tf_efficientnet_lite0", "decoder_channels": [128, 64, 48, 32, 16]},
    parameters=3_832_789,
    license="Apache-2.0",
    accuracy={
        "mIoU": 0.566,
        "building": 0.728,
        "road": 0.488,
        "vegetation": 0.298,
        "water": 0.705,
        "bare land": 0.610,
    },
)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ZOO / SPEC.name
    print(SPEC.with_file(folder / SPEC.weights).write(folder))
