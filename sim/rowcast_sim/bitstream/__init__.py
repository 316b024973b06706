"""From a configuration to a bitstream: the open tools, run step by step."""
