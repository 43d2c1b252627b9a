"""The networks that a package may name: by architecture and arguments, any number of bands, random weights."""

from __future__ import annotations

from typing import Any

import torch

from geoseg.errors import ModelError
from geoseg.model import ModelSpec

__all__ = ["FITTED", "INSTANCE", "SEMANTIC", "MaskRCNN", "build_network", "head_of"]

_SMP = ("DeepLabV3", "DeepLabV3Plus", "FPN", "Linknet", "MAnet", "Segformer", "UPerNet", "Unet", "UnetPlusPlus")
"""Of segmentation_models_pytorch: ``encoder_name`` and its other arguments."""

SEMANTIC = (*_SMP, "FCN")
"""Networks that give each pixel a class. FCN is torchgeo's: five convolutions of ``num_filters``."""

FITTED = ("FewLabels",)
"""Networks that are fitted, not trained: see `geoseg.networks.few_network`."""

INSTANCE = ("MaskRCNN",)
"""Networks that give objects."""


def build_network(spec: ModelSpec) -> torch.nn.Module:
    """The network that a package's metadata names, with random weights.

    Parameters
    ----------
    spec
        Its architecture, arguments, bands and classes.

    Returns
    -------
    torch.nn.Module
        For `SEMANTIC` and `FITTED` ones: (tile, band, row, col) → logits (tile, class, row, col). See also `MaskRCNN`.

    Raises
    ------
    ModelError
        The architecture is unknown or does not take these arguments.

    Examples
    --------
    >>> from geoseg.classes import ClassInfo
    >>> spec = ModelSpec("tiny", ("red", "nir"), (0, 0), (1, 1), (ClassInfo(0, "land"), ClassInfo(1, "water")),
    ...                  architecture="FCN", arguments={"num_filters": 4})
    >>> build_network(spec)(torch.zeros(1, 2, 32, 32)).shape
    torch.Size([1, 2, 32, 32])
    """
    bands, classes = len(spec.bands), spec.channels  # a sigmoid's one channel is two classes
    try:
        if spec.architecture in _SMP:
            import segmentation_models_pytorch as smp

            arguments = {**spec.arguments, "encoder_weights": None}
            return getattr(smp, spec.architecture)(in_channels=bands, classes=classes, **arguments)
        if spec.architecture == "FCN":
            from torchgeo.models import FCN

            return FCN(in_channels=bands, classes=classes, **spec.arguments)
        if spec.architecture == "FewLabels":
            from geoseg.networks.few_network import FewLabels

            return FewLabels(in_channels=bands, classes=classes, **spec.arguments)
        if spec.architecture == "MaskRCNN":
            return MaskRCNN(bands, len(spec.classes), **spec.arguments)
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"{spec.architecture} does not take the arguments {dict(spec.arguments)} of model.json: {error}"
        ) from error
    known = ", ".join([*SEMANTIC, *FITTED, *INSTANCE])
    raise ModelError(
        f"The architecture must be one of {known}, but model.json of {spec.name} names {spec.architecture!r}."
    )


def head_of(architecture: str) -> str:
    """The name of the last convolution of a `SEMANTIC` network, whose output is enlarged linearly to the logits.

    >>> head_of("Unet")
    'segmentation_head.0'
    """
    return "last" if architecture == "FCN" else "segmentation_head.0"


def _as_it_is(image: torch.Tensor, target: Any = None) -> tuple[torch.Tensor, Any]:
    return image, target


def _resnet_fpn(name: str, bands: int, channels: int) -> torch.nn.Module:
    from torchvision.models import resnet
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    # Batch norms that learn: the frozen ones of torchvision's default fit the photographs of its weights only.
    body = getattr(resnet, name)(weights=None, norm_layer=torch.nn.BatchNorm2d)
    first = body.conv1
    body.conv1 = torch.nn.Conv2d(bands, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False)
    widths = [body.inplanes // 8 * 2**level for level in range(4)]
    return BackboneWithFPN(body, {f"layer{level + 1}": str(level) for level in range(4)}, widths, channels)


def _timm_fpn(name: str, bands: int, channels: int) -> torch.nn.Module:
    return _TimmPyramid(name.removeprefix("tu-"), bands, channels)


class _TimmPyramid(torch.nn.Module):
    """A feature pyramid over one of timm's networks, from a quarter of the side down."""

    def __init__(self, name: str, bands: int, channels: int) -> None:
        import timm
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        super().__init__()
        body: Any = timm.create_model(name, features_only=True, in_chans=bands, out_indices=(1, 2, 3, 4))
        self.body = body
        self.fpn = FeaturePyramidNetwork(body.feature_info.channels(), channels, LastLevelMaxPool())
        self.out_channels = channels

    def forward(self, tiles: torch.Tensor) -> dict[str, torch.Tensor]:
        """The levels of the pyramid by name."""
        return self.fpn({str(level): feature for level, feature in enumerate(self.body(tiles))})


class MaskRCNN(torch.nn.Module):
    """Mask R-CNN (He et al. 2017) of torchvision, for any number of bands.

    Pixels come scaled, and in the size that they have: torchvision's own scaling by the mean and deviation of
    photographs and its resizing are switched off.

    Parameters
    ----------
    bands
        Input channels.
    classes
        Kinds of objects; the background is added.
    backbone
        ``resnet18`` to ``resnet152``, or ``tu-`` and the name of one of timm's networks, with a feature pyramid.
    detections
        Most objects in one tile.
    channels
        Of the pyramid and the heads; 256 are torchvision's.
    anchor_px
        Side of the smallest anchors; each level of the pyramid doubles it.

    Examples
    --------
    >>> network = MaskRCNN(4, 1, backbone="resnet18").eval()
    >>> sorted(network(torch.zeros(1, 4, 64, 64))[0])
    ['boxes', 'labels', 'masks', 'scores']
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        backbone: str = "resnet50",
        detections: int = 300,
        channels: int = 256,
        anchor_px: int = 32,
    ) -> None:
        from torchvision.models import detection
        from torchvision.models.detection import faster_rcnn, mask_rcnn, rpn

        super().__init__()
        body = (
            _timm_fpn(backbone, bands, channels)
            if backbone.startswith("tu-")
            else _resnet_fpn(backbone, bands, channels)
        )
        anchors = rpn.AnchorGenerator(tuple((anchor_px * 2**level,) for level in range(5)), ((0.5, 1.0, 2.0),) * 5)
        self.network = detection.MaskRCNN(
            body,
            image_mean=[0.0] * bands,
            image_std=[1.0] * bands,
            rpn_anchor_generator=anchors,
            rpn_head=rpn.RPNHead(channels, anchors.num_anchors_per_location()[0]),
            box_head=faster_rcnn.TwoMLPHead(channels * 7**2, channels * 4),
            box_predictor=faster_rcnn.FastRCNNPredictor(channels * 4, classes + 1),
            mask_head=mask_rcnn.MaskRCNNHeads(channels, (channels,) * 4, 1),
            mask_predictor=mask_rcnn.MaskRCNNPredictor(channels, channels, classes + 1),
            box_detections_per_img=detections,
        )
        # torchvision's own switch, _skip_resize, is for training only: without this, tiles were enlarged to 800 pixels.
        transform: Any = self.network.transform
        transform.resize = _as_it_is

    def forward(self, tiles: torch.Tensor, objects: list[dict[str, torch.Tensor]] | None = None) -> Any:
        """Find objects, or learn from them.

        Parameters
        ----------
        tiles
            (tile, band, row, col) float32, scaled.
        objects
            In training, for each tile: ``boxes`` (object, 4) float32 x0, y0, x1, y1 in pixels; ``labels`` (object,)
            int64, from 1; ``masks`` (object, row, col) uint8.

        Returns
        -------
        list of dict, or dict
            For each tile ``boxes``, ``labels``, ``scores`` and soft ``masks`` (object, 1, row, col); in training the
            losses by name.
        """
        return self.network(list(tiles), objects)

    def find(self, tiles: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Find objects as `forward` does, but leave their masks as small as the network gives them.

        The heads see one tile at a time: how many boxes go through a layer at once may change its sums, and a tile's
        result is to depend on the tile alone.

        Parameters
        ----------
        tiles
            (tile, band, row, col) float32, scaled.

        Returns
        -------
        list of dict
            For each tile ``boxes``, ``labels``, ``scores`` and ``masks`` (object, 1, 28, 28) of probabilities.

        Raises
        ------
        ModelError
            The features are not numbers: torchvision would leave out what comes of them, and find nothing.
        """
        network = self.network
        images, _ = network.transform(list(tiles))
        features = network.backbone(images.tensors)
        if not all(torch.isfinite(level).all() for level in features.values()):
            raise ModelError(
                "Mask R-CNN must see finite numbers, but gave others. Its weights are damaged, or the scene's values "
                "are far outside what it was trained on: check --value-range."
            )
        proposals, _ = network.rpn(images, features)
        found = []
        for i, (boxes, shape) in enumerate(zip(proposals, images.image_sizes, strict=True)):
            own = {name: level[i : i + 1] for name, level in features.items()}
            found += network.roi_heads(own, [boxes], [shape])[0]
        return found
