"""Rowcast's hardware: configuration, instruction set, registers and the Amaranth modules made from them."""

from .config import PRESETS, Config, ConfigError, preset

__all__ = ["PRESETS", "Accelerator", "Config", "ConfigError", "preset"]


def __getattr__(name):
    # The compiler and the command line need the configuration without waiting for Amaranth.
    if name == "Accelerator":
        from .accelerator import Accelerator

        return Accelerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
