"""Public packages -> Project -> predictions without a network."""
