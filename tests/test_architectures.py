"""Every network that a package may name: built, run, trained a few steps, saved and loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from packages import TINY

from geoseg.classes import ClassInfo
from geoseg.errors import ModelError
from geoseg.model import ModelSpec
from geoseg.networks import TorchModel, build_network
from geoseg.networks.architectures import INSTANCE, SEMANTIC, MaskRCNN

ENCODER = {"encoder_name": "resnet18"}
ARGUMENTS = {
    "FCN": {"num_filters": 32},
    "Segformer": {**ENCODER, "decoder_segmentation_channels": 16},
    "UPerNet": {**ENCODER, "decoder_channels": 16},
    "Unet": {"encoder_name": "tu-mobilenetv3_small_050", "encoder_depth": 4, "decoder_channels": [16, 16, 8, 8]},
}


def spec_of(architecture: str, bands: int) -> ModelSpec:
    return replace(
        TINY,
        bands=tuple(f"b{k}" for k in range(bands)),
        mean=(0.0,) * bands,
        std=(1.0,) * bands,
        classes=(ClassInfo(0, "dark"), ClassInfo(1, "bright")),
        architecture=architecture,
        arguments=ARGUMENTS.get(architecture, ENCODER),
    )


def halves(bands: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tiles whose right half is bright, and their classes."""
    tiles = torch.zeros(2, bands, 64, 64)
    tiles[..., 32:] = 1
    return tiles, (tiles[:, 0] > 0.5).long()


@pytest.mark.parametrize("architecture", SEMANTIC)
@pytest.mark.parametrize("bands", [1, 5])
def test_semantic_networks_learn_and_travel(architecture, bands, tmp_path):
    torch.manual_seed(0)
    spec = spec_of(architecture, bands)
    network = build_network(spec).train()
    tiles, classes = halves(bands)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(10):
        output = network(tiles)
        assert output.shape == (2, 2, 64, 64)
        loss = torch.nn.functional.cross_entropy(output, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    again = build_network(spec)
    again.load_state_dict(network.state_dict())
    one, other = (TorchModel(spec, made, threads=1) for made in (network, again))
    tile = "a", tiles[0].numpy(), np.ones((64, 64), bool)
    (_, _, here), (_, _, there) = next(one.predict([tile])), next(other.predict([tile]))
    assert torch.equal(here, there)
    assert torch.allclose(here.sum(dim=0), torch.ones(64, 64))


def test_mask_rcnn_is_torchvision_s_unless_it_is_to_be_small():
    from torchvision.models.detection import MaskRCNN as Original
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    body = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d)
    original = Original(body, 2, image_mean=[0.0] * 3, image_std=[1.0] * 3, box_detections_per_img=300).eval()
    ours = MaskRCNN(3, 1, backbone="resnet18").eval()
    state = {name.removeprefix("network."): value.shape for name, value in ours.state_dict().items()}
    assert state == {name: value.shape for name, value in original.state_dict().items()}
    assert ours.network.rpn.anchor_generator.sizes == original.rpn.anchor_generator.sizes
    small = MaskRCNN(3, 1, backbone="tu-tf_efficientnet_lite0", channels=64, anchor_px=8)
    assert sum(value.numel() for value in small.parameters()) < 6e6
    assert small.network.rpn.anchor_generator.sizes[0] == (8,)


@pytest.mark.parametrize("architecture", INSTANCE)
@pytest.mark.parametrize("bands", [4])
@pytest.mark.parametrize(
    "arguments", [{"backbone": "resnet18"}, {"backbone": "tu-mobilenetv3_small_050", "channels": 32, "anchor_px": 16}]
)
def test_instance_networks_learn_and_find(architecture, bands, arguments):
    torch.manual_seed(0)
    spec = replace(
        spec_of(architecture, bands),
        arguments=arguments,
        task="instance-segmentation",
        decoding="maskrcnn",
    )
    network = build_network(spec).train()
    tiles = torch.zeros(2, bands, 64, 64)
    tiles[:, :, 16:40, 20:44] = 1
    mask = (tiles[0, :1] > 0.5).to(torch.uint8)
    target = {"boxes": torch.tensor([[20.0, 16.0, 44.0, 40.0]]), "labels": torch.tensor([1]), "masks": mask}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    totals = []
    for _ in range(12):
        losses = network(tiles, [target, target])
        assert {"loss_mask", "loss_classifier", "loss_box_reg"} <= set(losses)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert np.mean(totals[-2:]) < 0.8 * totals[0]
    again = build_network(spec)
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        for found in again.eval()(tiles):
            n = len(found["scores"])
            assert found["boxes"].shape == (n, 4)
            assert found["masks"].shape == (n, 1, 64, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "Oracle"}, "must be one of .*FCN.*MaskRCNN.*'Oracle'"),
        ({"arguments": {"encoder_name": "no-such-encoder"}}, "does not take the arguments"),
        ({"architecture": "FCN", "arguments": {"filters": 3}}, "does not take the arguments"),
        ({"architecture": "MaskRCNN", "arguments": {"backbone": "vgg1"}}, "does not take the arguments"),
    ],
)
def test_what_cannot_be_built(change, message):
    with pytest.raises(ModelError, match=message):
        build_network(replace(TINY, **change))
