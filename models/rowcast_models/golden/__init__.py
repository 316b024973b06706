"""Golden: the integer semantics of everything that the hardware computes, in numpy."""
