"""Films of a policy: recorded actions are replayed in Meta-World's own environments and drawn without a screen."""
