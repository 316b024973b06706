"""How long a program takes, without running it."""

from .bus import MemoryModel
from .model import LayerPrediction, Prediction, Span, predict

__all__ = ["LayerPrediction", "MemoryModel", "Prediction", "Span", "predict"]
