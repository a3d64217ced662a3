"""The learner: networks, SAC, replay buffer, exploration, and the plan that a config resolves to."""
