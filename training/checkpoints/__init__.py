"""Checkpoints: the files on disk, an agent as tensors, a run to resume, a policy to evaluate."""
