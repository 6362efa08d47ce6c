"""The command line: one module for each command."""

import gc

# What is imported stays: a collection every 700 new objects would only make a program start late.
gc.set_threshold(50_000)
