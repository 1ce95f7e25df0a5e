"""A server's address + known requests -> how its latency answers to load, and where the knee is."""
