"""``geoseg models``: list, show, check, import and export model packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from geoseg.classes import ClassInfo
from geoseg.cli_options import Debug
from geoseg.errors import OptionError

__all__ = ["models_app", "parse_classes"]


class _Verbs(TyperGroup):
    """``geoseg models NAME`` is short for ``geoseg models show NAME``, and ``geoseg models`` for ``list``."""

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        if arguments and arguments[0] not in self.commands and not arguments[0].startswith("-"):
            arguments = ["show", *arguments]
        return super().resolve_command(context, arguments)


models_app = typer.Typer(cls=_Verbs, invoke_without_command=True, rich_markup_mode=None)
Package = Annotated[str, typer.Argument(help="A shipped model's name, or the folder or zip of a package.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The package to make: a folder, or a .zip.")]


@models_app.callback()
def models(context: typer.Context, debug: Debug = False) -> None:
    """List, show, check, import and export models."""
    if context.invoked_subcommand is None:
        list_()


@models_app.command("list")
def list_(debug: Debug = False) -> None:
    """List the models that ship with geoseg."""
    from geoseg.packages import list_models

    table = Table("model", "bands", "metres a pixel", "classes", "good for", box=None, header_style="bold")
    table.columns[0].no_wrap = True
    for known, spec in list_models().items():
        low, high = spec.resolution_range_m
        classes = ", ".join(info.name for info in spec.classes)
        table.add_row(known, ", ".join(spec.bands), f"{low:g} to {high:g}", classes, spec.description)
    Console().print(table)
    Console().print("\nWeights that torchgeo publishes: geoseg models torchgeo", highlight=False)


@models_app.command()
def torchgeo(debug: Debug = False) -> None:
    """List the weights that torchgeo publishes."""
    from geoseg.networks.torchgeo_weights import list_backbones, list_weights

    console = Console()
    shown = Table("for geoseg map --model", "metres a pixel", "licence", "bands", box=None, header_style="bold")
    shown.columns[0].no_wrap = True
    for name, spec in list_weights().items():
        shown.add_row(name, f"{spec.resolution_m:g}", spec.license, ", ".join(spec.bands))
    console.print(shown)
    shown = Table("encoders that training can start from", "bands", box=None, header_style="bold")
    shown.columns[0].no_wrap = True
    for name, bands in list_backbones().items():
        shown.add_row(name, ", ".join(bands))
    console.print()
    console.print(shown)


@models_app.command()
def show(package: Package, debug: Debug = False) -> None:
    """Show one model in full."""
    console = Console()
    if package.startswith("torchgeo:"):
        from geoseg.networks.torchgeo_weights import weights_spec

        spec = weights_spec(package)
    else:
        from geoseg.packages import read_spec

        spec = read_spec(package)
    for key, value in spec.to_item()["properties"].items():
        console.print(f"{key}: {value}", highlight=False, markup=False)
    console.print(f"weights: {spec.weights} (SHA-256 {spec.sha256 or 'known after download'})", highlight=False)


@models_app.command()
def check(package: Package, debug: Debug = False) -> None:
    """Look at a package from its metadata to a predicted tile; exits with 1 where something is wrong."""
    from geoseg.networks.checking import check_package

    table = Table("", "check", "found", box=None, header_style="bold")
    table.columns[2].overflow = "fold"
    checks = check_package(package)
    for one in checks:
        table.add_row("ok" if one.passed else "WRONG", one.what, escape(one.found))
    Console().print(table)
    if not all(one.passed for one in checks):
        raise typer.Exit(1)


@models_app.command("import")
def import_(
    weights: Annotated[Path, typer.Argument(help=".onnx, .pt2, .safetensors, .pt, .pth or .ckpt")],
    out: Out,
    name: Annotated[str, typer.Option(help="The model's name.")],
    bands: Annotated[str, typer.Option(help="Input bands in the network's order: red,green,blue.")],
    classes: Annotated[str, typer.Option(help="In the order of the output channels: 0=land:#aabbcc,1=water.")],
    mean: Annotated[str, typer.Option(help="Subtracted from each band, in pixel values; one for all, or 1,2,3.")] = "0",
    std: Annotated[
        str | None, typer.Option(help="Then each band is divided by this. By default 1, for yolo-seg 255.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Data type of the pixels that mean and std are for.")] = "uint8",
    resolution: Annotated[float, typer.Option(help="Pixel size that the network was trained on, metres.")] = 0.5,
    resolution_range: Annotated[
        str | None, typer.Option(help="Pixel sizes that are read as they are: 0.3,1. By default half to double.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Side of the network's tile, pixels.")] = 512,
    overlap: Annotated[int | None, typer.Option(help="Pixels that tiles share; by default an eighth of it.")] = None,
    margin: Annotated[int, typer.Option(help="Pixels at a tile's border that are not used.")] = 0,
    divisor: Annotated[int, typer.Option(help="The tile side must be a multiple of this.")] = 32,
    activation: Annotated[str, typer.Option(help="softmax, sigmoid, or none: gives probabilities.")] = "softmax",
    temperature: Annotated[float, typer.Option(help="The output is divided by this before softmax.")] = 1.0,
    decoding: Annotated[
        str | None, typer.Option(help="What the output is: classes, boundary, maskrcnn, yolo-seg.")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Objects: the lowest score of one.")] = 0.25,
    max_overlap: Annotated[float, typer.Option(help="Objects: boxes that overlap by more are one object.")] = 0.7,
    grow_px: Annotated[int, typer.Option(help="Boundary: steps that objects grow into it.")] = 2,
    borders: Annotated[str, typer.Option(help="Boundary: shared, or gap where objects would meet.")] = "shared",
    architecture: Annotated[str, typer.Option(help="The network of a state dict: Unet.")] = "",
    arguments: Annotated[str, typer.Option(help='Its arguments, JSON: {"encoder_name": "resnet18"}.')] = "{}",
    license: Annotated[str, typer.Option(help="SPDX identifier of the weights' licence.")] = "other",
    description: Annotated[str, typer.Option(help="What the model is good for.")] = "",
    citation: Annotated[str, typer.Option(help="How to cite it.")] = "",
    source: Annotated[list[str] | None, typer.Option(help="Training data and its licence; may be repeated.")] = None,
    debug: Debug = False,
) -> None:
    """Make a package of weights that others trained; a tile is predicted before anything is written."""
    from geoseg.networks.importing import import_model
    from geoseg.packages import ModelSpec
    from geoseg.packages.spec import INSTANCE_DECODINGS, TASKS

    decoding = decoding or ("maskrcnn" if architecture == "MaskRCNN" else "classes")
    std = std or ("255" if decoding == "yolo-seg" else "1")
    names = tuple(band.strip() for band in bands.split(","))
    low, high = _numbers("--resolution-range", resolution_range or f"{resolution / 2},{resolution * 2}", 2)
    spec = ModelSpec(
        name,
        bands=names,
        mean=_numbers("--mean", mean, len(names)),
        std=_numbers("--std", std, len(names)),
        classes=parse_classes(classes),
        dtype=dtype,
        resolution_m=resolution,
        resolution_range_m=(low, high),
        tile_px=tile,
        overlap_px=tile // 8 if overlap is None else overlap,
        margin_px=margin,
        divisor=divisor,
        activation=activation,
        temperature=temperature,
        task=TASKS[decoding in INSTANCE_DECODINGS],
        decoding=decoding,
        min_score=min_score,
        max_overlap=max_overlap,
        grow_px=grow_px,
        borders=borders,
        architecture=architecture,
        arguments=_object("--arguments", arguments),
        license=license,
        description=description,
        citation=citation,
        sources=tuple(source or ()),
    )
    made = import_model(weights, spec, out)
    use = f"geoseg.load_model({str(made)!r}).find" if spec.finds_objects else f"--model {made}"
    typer.echo(f"The package is {made}: use it with {use}.")


@models_app.command()
def export(
    package: Package,
    onnx: Annotated[Path, typer.Option("--onnx", help="The ONNX package to make: a folder, or a .zip.")],
    debug: Debug = False,
) -> None:
    """Write a torch package as an ONNX package that gives the same probabilities."""
    from geoseg.networks.exporting import OPSET, TOLERANCE, export_onnx

    made, found = export_onnx(package, onnx)
    typer.echo(
        f"The package is {made}: ONNX, opset {OPSET}. Probabilities differ by at most {found:.1g} on sample tiles "
        f"({TOLERANCE:g} is allowed)."
    )


def parse_classes(text: str) -> tuple[ClassInfo, ...]:
    """Classes as people write them, in the order of the network's output channels.

    Raises
    ------
    OptionError
        A part is not ``value=name`` or ``value=name:#rrggbb``.

    Examples
    --------
    >>> [(info.value, info.name, info.color) for info in parse_classes("0=land:#aabbcc,1=water:#0000ff")]
    [(0, 'land', '#aabbcc'), (1, 'water', '#0000ff')]
    """
    classes = []
    for part in text.split(","):
        value, _, rest = part.strip().partition("=")
        name, _, color = rest.partition(":#")
        if not (value.isdecimal() and name):
            raise OptionError(f"--classes is like 0=land:#aabbcc,1=water, but one part is {part!r}.")
        classes.append(ClassInfo(int(value), name.strip(), f"#{color}" if color else ""))
    return tuple(classes)


def _numbers(option: str, text: str, count: int) -> tuple[float, ...]:
    """As many numbers, separated by commas; a single one stands for all."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} is numbers with commas, like 0.5,0.5, but is {text!r}.") from error
    if len(numbers) not in (1, count):
        raise OptionError(f"{option} must be one number, or {count} with commas, but is {text!r}.")
    return numbers * count if len(numbers) == 1 else numbers


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(f"{option} must be JSON, but {text!r} is not: {error}.") from error
    if not isinstance(found, dict):
        raise OptionError(f'{option} must be a JSON object, like {{"encoder_name": "resnet18"}}, but is {text!r}.')
    return found
