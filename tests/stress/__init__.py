"""Harnesses that try to break training runs and files; docs/reliability.md has what they found."""
