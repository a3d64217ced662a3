"""What the hidden units of a trained policy do: which are on for which task, and what silencing them costs."""
