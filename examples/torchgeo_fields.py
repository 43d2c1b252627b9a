"""Field boundaries from two Sentinel-2 dates with weights that torchgeo publishes.

    python examples/torchgeo_fields.py may.tif july.tif fields/     # red, green, blue, nir; downloads 53 MB once
    python examples/torchgeo_fields.py                              # a rehearsal that needs no network

The rehearsal draws two dates of a few fields and serves weights of the right architecture from this machine, but
random ones: everything is as it will be, except that the map means nothing.
"""

import hashlib
import os
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import rasterio

import geoseg

MODEL = "torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW"
BANDS = "red=1,green=2,blue=3,nir=4"


def draw_date(path: Path, seed: int, shift_m: float) -> Path:
    """Rectangular fields, each with its own reflectance; the second date lies on another grid, as real ones may."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(300, 3000, (4, 8, 8)).astype("uint16")
    pixels = fields.repeat(16, axis=1).repeat(16, axis=2)
    transform = rasterio.Affine(10, 0, 359_130 + shift_m, 0, -10, 5_352_340)
    like = {"driver": "GTiff", "width": 128, "height": 128, "count": 4, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=transform, **like) as file:
        file.write(pixels)
    return path


def serve_random_weights(folder: Path) -> None:
    """Publish random weights under the name that torchgeo's are known by, from this machine."""
    import torch
    from torchgeo.models import Unet_Weights, unet

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    network = unet(None, 3, in_channels=8, encoder_name="efficientnet-b3", encoder_weights=None)
    torch.save(network.state_dict(), folder / "weights.pth")
    digest = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()
    (folder / "weights.pth").rename(folder / f"random-{digest[:8]}.pth")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/random-{digest[:8]}.pth"
    Unet_Weights.SENTINEL2_3CLASS_FTW.value.url = address


def main() -> None:
    if len(sys.argv) == 4:
        first, second, out = map(Path, sys.argv[1:])
        options = {}
    else:
        folder = Path(tempfile.mkdtemp())
        os.environ["GEOSEG_CACHE"] = str(folder / "cache")
        first, second = draw_date(folder / "may.tif", 1, 0), draw_date(folder / "july.tif", 2, 163)
        out, options = folder / "fields", {"tile_px": 128}
        serve_random_weights(folder)
    result = geoseg.map_scene(first, MODEL, out, second=second, bands=BANDS, simplify="1px", **options)
    print(result.areas.to_string(index=False))
    print(f"The map is in {result.folder}.")


if __name__ == "__main__":
    main()
