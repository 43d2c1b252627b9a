"""Finish training of `landcover-aerial`: average checkpoints and give the classes back their true shares.

    python examples/finish_landcover_aerial.py DATA one.safetensors two.safetensors --out weights.safetensors

Training draws half of its crops by class, so lawns and houses come up more often than they are. The head's bias is
shifted by log(share in the training areas / share in the crops), the usual correction for a changed prior (Saerens,
Latinne and Decaestecker 2002). Only training areas are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from train_landcover_aerial import (
    NAMES,
    TRAINED_ON,
    Crops,
    build_model,
    draw_synthetic,
    read_dubai,
    read_naip,
    save_half,
)


def count(truths: list[np.ndarray]) -> np.ndarray:
    """Pixels of each class."""
    return sum(np.bincount(truth.ravel(), minlength=256)[: len(NAMES)] for truth in truths)


def prior_shift(data: Path, *, crops: int, naip: float, synthetic: float, strength: float) -> np.ndarray:
    """What to add to the logits of each class."""
    areas = [patch for area in TRAINED_ON for patch in read_dubai(data, area)]
    sources = [
        (areas, (0.6, 1.7), 1 - naip - synthetic),
        (read_naip(data), (0.5, 1.2), naip),
        (draw_synthetic(24, seed=1), (0.7, 1.4), synthetic),
    ]
    drawn = []
    for patches, zoom, share in sources:
        source = Crops(patches, side=256, zoom=zoom, seed=1)
        drawn += [source.draw()[1].numpy() for _ in range(round(crops * share))]
    true, seen = count([patch.truth.numpy() for patch in areas]), count(drawn)
    print("share in the areas", (true / true.sum()).round(3), "in the crops", (seen / seen.sum()).round(3))
    return strength * np.log((true / true.sum()) / (seen / seen.sum()))


def main() -> None:
    """Average, shift, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("landcover-aerial.safetensors"))
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--naip", type=float, default=0.04)
    parser.add_argument("--synthetic", type=float, default=0.14)
    parser.add_argument("--strength", type=float, default=1.0, help="0 leaves the shares as they were drawn")
    args = parser.parse_args()
    model = build_model(args.checkpoints[0])
    states = [load_file(path) for path in args.checkpoints]
    shift = prior_shift(args.data, crops=args.crops, naip=args.naip, synthetic=args.synthetic, strength=args.strength)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(sum(state[name].float() for state in states) / len(states))
        model.segmentation_head[0].bias += torch.from_numpy(shift).float()
    save_half(model, args.out)
    print("added to the logits", dict(zip(NAMES, shift.round(2).tolist(), strict=True)))


if __name__ == "__main__":
    main()
