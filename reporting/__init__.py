"""What a run tells: metrics, statistics, reports."""
