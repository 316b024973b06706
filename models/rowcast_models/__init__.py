"""Networks, their integer semantics (golden) and the compiler that maps them onto the hardware."""
