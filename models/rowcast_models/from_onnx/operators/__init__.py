"""One file an operator of ONNX: its golden, and how it becomes graph nodes."""
