"""Random quantised models of both formats, compared with the runtimes that they are made for, and on the RTL."""
