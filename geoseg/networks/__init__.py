"""Networks: everything that imports torch. `load_model` turns a package into something that `classify` can run."""

from geoseg.networks.architectures import build_network
from geoseg.networks.loading import load_model
from geoseg.networks.together import Ensemble, Turned, load_together
from geoseg.networks.torch_model import TorchModel

__all__ = ["Ensemble", "TorchModel", "Turned", "build_network", "load_model", "load_together"]
