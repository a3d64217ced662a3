"""One Meta-World environment, made fast and watched. Only worker processes import this."""
