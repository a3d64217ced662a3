"""Evaluated episodes as a data set for imitation learning."""
