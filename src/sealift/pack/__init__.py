"""Project + parts -> Bundle."""
