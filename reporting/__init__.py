"""Success-rate reports, their statistics, and plots."""
