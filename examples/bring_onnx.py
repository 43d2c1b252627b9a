# %% [markdown]
# # Bring a network that another tool exported
#
# An ONNX file becomes a package of geoseg when one says what it was trained for: bands, scaling, ground size of a pixel
# and classes. Here a tiny network is exported first; take your own file in its place.

# %%
import tempfile
from pathlib import Path

import torch

import geoseg
import geoseg.synthetic
from geoseg.networks.checking import check_package
from geoseg.networks.importing import import_model

folder = Path(tempfile.mkdtemp())


class Greenness(torch.nn.Module):
    """Vegetation where green is higher than red and blue: logits of (other, vegetation)."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        excess = 2 * pixels[:, 1:2] - pixels[:, 0:1] - pixels[:, 2:3]
        return torch.cat([-20 * excess + 1, 20 * excess - 1], dim=1)


free = {0: "tile", 2: "row", 3: "col"}
torch.onnx.export(
    Greenness(),
    (torch.zeros(1, 3, 256, 256),),
    str(folder / "greenness.onnx"),
    dynamic_axes={"pixels": free, "logits": free},
    input_names=["pixels"],
    output_names=["logits"],
    dynamo=False,
)

# %% [markdown]
# On the command line: `geoseg models import greenness.onnx --out greenness --name greenness --bands red,green,blue
# --std 255 --classes "0=other:#d2b48c,1=vegetation:#228833" --resolution 0.5 --tile 256`.

# %%
spec = geoseg.ModelSpec(
    "greenness",
    bands=("red", "green", "blue"),
    mean=(0.0,) * 3,
    std=(255.0,) * 3,
    classes=(geoseg.ClassInfo(0, "other", "#d2b48c"), geoseg.ClassInfo(1, "vegetation", "#228833")),
    resolution_m=0.5,
    tile_px=256,
    artifact="onnx",
)
package = import_model(folder / "greenness.onnx", spec, folder / "greenness")
for check in check_package(package):
    print("ok" if check.passed else "WRONG", check.what, check.found)

# %%
picture = geoseg.synthetic.write_scene(folder / "scene.tif", shape=(512, 512), seed=3)
result = geoseg.map_scene(picture, package, folder / "map")
print(result.areas.to_string(index=False))
