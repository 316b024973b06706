"""The runtimes whose results are the measure: they run a model and give every tensor of it."""
