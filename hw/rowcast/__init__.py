"""Rowcast's hardware: configuration, instruction set, registers and the Amaranth modules made from them."""

from .config import PRESETS, Config, ConfigError, preset

__all__ = ["PRESETS", "Config", "ConfigError", "preset"]
