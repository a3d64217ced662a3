"""Metrics: their keys, how they are gathered, the rows, metrics.csv and TensorBoard."""
