"""Cost, quality, verdicts and the report."""
