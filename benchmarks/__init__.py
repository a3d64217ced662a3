"""Paired, interleaved measurements of the update, the simulators and the training loop."""
