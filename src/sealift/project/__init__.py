"""sealift.toml -> Project: the engineer's declaration, parsed once and then trusted."""
