"""One file an operator of TensorFlow Lite: its golden, and how it becomes graph nodes."""
