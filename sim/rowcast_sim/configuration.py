"""A configuration from what the command line says: a preset, a JSON file, single fields."""

import json
from dataclasses import fields

from rowcast.config import PRESETS, Config, ConfigError

from .errors import InputError

__all__ = ["derived", "print_config", "read_config"]

DEFAULT = "base"


def read_config(*, preset=None, path=None, changes=()):
    """The Config of a preset or a JSON file, with `changes` (texts "field=value") made to it.

    The file is an object of Config's fields; those that it leaves out are the default's.

    Raises
    ------
    InputError
        The file is not such an object, or a change is not a field and an integer.
    ConfigError
        The result cannot work.
    """
    if preset is not None and path is not None:
        raise InputError("--preset and --config exclude each other: a file is a whole configuration")
    values = _read_json(path) if path is not None else PRESETS[preset or DEFAULT].to_dict()
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set must be FIELD=VALUE, not {change!r}")
        values[name.strip()] = _integer(name.strip(), text.strip())
    known = [field.name for field in fields(Config)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ConfigError(f"there is no field {unknown[0]!r}; fields are: {', '.join(known)}")
    return Config(**values)


def _integer(name, text):
    try:
        return int(text, 0)
    except ValueError:
        raise InputError(f"--set {name}: the value must be an integer, not {text!r}") from None


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: a configuration is a JSON object of fields, not a {type(values).__name__}")
    return values


def print_config(console, config):
    """The fields as a table, and what follows from them."""
    from .report import table

    made = table("field", "value", numbers=("value",))
    for name, value in config.to_dict().items():
        made.add_row(name, f"{value:,}")
    made.add_section()
    for name, value in derived(config).items():
        made.add_row(name, value)
    console.print(made)


def derived(config):
    """What people ask of a configuration, as texts by name."""
    scratchpads = config.num_pes * (config.lanes * (config.filter_words + config.ifmap_words + 4 * config.psum_pixels))
    return {
        "MACs a cycle": f"{config.num_macs:,}",
        "PE scratchpads, bytes": f"{scratchpads:,}",
        "global buffer, bytes": f"{config.lanes * (config.act_words + config.filter_buffer_words):,}",
        "digest": f"{config.digest():08x}",
    }
