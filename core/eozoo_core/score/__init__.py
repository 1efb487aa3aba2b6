"""Scores: metrics from pooled sums, statistics of channels, plots and the report page."""
