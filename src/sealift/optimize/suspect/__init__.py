"""Reference + labelled items -> mistakes of the project that look like a bad model."""
