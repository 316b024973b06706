"""How long a program takes, without running it."""

from .bus import MemoryModel
from .model import Prediction, predict

__all__ = ["MemoryModel", "Prediction", "predict"]
