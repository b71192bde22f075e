"""The parts of the managed Python runtime."""
