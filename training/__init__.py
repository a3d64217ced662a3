"""A run in time and on disk: collecting, recording, checkpoints, resuming."""
