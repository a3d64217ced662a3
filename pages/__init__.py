"""report.html: what a run does and has learned, on one page that needs no network."""
