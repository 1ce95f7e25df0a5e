"""An old service -> the project that replaces it, and what to check."""
