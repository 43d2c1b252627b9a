"""Small model packages with random weights, for tests of loading and running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from geoseg.classes import ClassInfo
from geoseg.model import ModelSpec
from geoseg.networks import build_network

TINY = ModelSpec(
    "tiny",
    bands=("red", "green", "blue"),
    mean=(127.5,) * 3,
    std=(127.5,) * 3,
    classes=tuple(ClassInfo(value, name) for value, name in enumerate(("building", "road", "green", "water"))),
    resolution_m=0.5,
    resolution_range_m=(0.3, 1.0),
    tile_px=128,
    overlap_px=32,
    margin_px=8,
    divisor=16,
    architecture="Unet",
    arguments={
        "encoder_name": "tu-mobilenetv3_small_050",
        "encoder_depth": 4,
        "decoder_channels": [32, 16, 16, 8],
    },
    license="Apache-2.0",
    description="random weights",
)


def write_package(folder: Path, spec: ModelSpec = TINY, seed: int = 0) -> Path:
    """A package whose weights are random but always the same, half precision like the shipped ones."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = build_network(spec)
    with torch.no_grad():  # spread the logits, so that every class wins somewhere
        head = network.segmentation_head[0]
        head.weight.mul_(30)
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / spec.weights)
    replace(spec).with_file(folder / spec.weights).write(folder)
    return folder
