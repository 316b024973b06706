"""From an integer graph to a program image: mapping, lowering, dependency tokens, memory map."""
