"""`[target.packages]` + Target -> files of the box's own package manager, with everything that they need."""
