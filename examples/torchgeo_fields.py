# %% [markdown]
# # Field boundaries from two Sentinel-2 dates
#
# With weights that torchgeo publishes. Your own call is one line (the weights, 53 MB, are downloaded once):
#
#     geoseg map may.tif --second july.tif --bands red=1,green=2,blue=3,nir=4 \
#         --model torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW
#
# This rehearsal needs no network: it draws two dates of a few fields, and serves weights of the right architecture from
# this machine, but random ones. Everything is as it will be, except that the map means nothing.

# %%
import hashlib
import os
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import rasterio
import torch
from torchgeo.models import Unet_Weights, unet

import geoseg

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# Two dates: rectangular fields, each with its own reflectance. The second lies on another grid, as real ones may.


# %%
def draw_date(path: Path, seed: int, shift_m: float) -> Path:
    fields = np.random.default_rng(seed).integers(300, 3000, (4, 8, 8)).astype("uint16")
    transform = rasterio.Affine(10, 0, 359_130 + shift_m, 0, -10, 5_352_340)
    like = {"driver": "GTiff", "width": 128, "height": 128, "count": 4, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=transform, **like) as file:
        file.write(fields.repeat(16, axis=1).repeat(16, axis=2))
    return path


may, july = draw_date(folder / "may.tif", 1, 0), draw_date(folder / "july.tif", 2, 163)

# %% [markdown]
# Random weights under the name that torchgeo's are known by, served from this machine. For the real ones leave this
# cell out.


# %%
class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing to say."""


network = unet(None, 3, in_channels=8, encoder_name="efficientnet-b3", encoder_weights=None)
torch.save(network.state_dict(), folder / "weights.pth")
digest = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()
(folder / "weights.pth").rename(folder / f"random-{digest[:8]}.pth")
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["GEOSEG_CACHE"] = str(folder / "cache")
weights = Unet_Weights.SENTINEL2_3CLASS_FTW
weights.value.url = f"http://127.0.0.1:{server.server_address[1]}/random-{digest[:8]}.pth"

# %%
result = geoseg.map_scene(
    may,
    "torchgeo:Unet_Weights.SENTINEL2_3CLASS_FTW",
    folder / "fields",
    second=july,
    bands="red=1,green=2,blue=3,nir=4",
    simplify="1px",
    tile_px=128,
)
print(result.areas.to_string(index=False))
server.shutdown()
