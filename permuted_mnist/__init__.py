"""Permuted images, one task after the other: data, network, learner, report."""
