"""The accelerator in its smallest form (`Config.compact`): one PE, units that do one thing after the other."""
