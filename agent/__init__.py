"""The learner: active dendrites, k-winners, actor and critics, SAC, replay, checkpoints."""
