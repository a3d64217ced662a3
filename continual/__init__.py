"""Tasks one after the other: contexts, protection of weights, and what a learner keeps."""
