"""What turns the accelerator into a system on chip: a memory, a host bridge over UART, and the bus between them."""
