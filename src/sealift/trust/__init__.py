"""Documents + signatures -> who vouches: pure decisions, no I/O."""
