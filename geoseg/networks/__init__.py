"""Networks: everything that imports torch. `load_model` turns a package into something that `classify` can run."""

from geoseg.networks.loading import load_model
from geoseg.networks.torch_model import TorchModel, build_network

__all__ = ["TorchModel", "build_network", "load_model"]
