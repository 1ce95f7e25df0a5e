"""What was done -> one line of a hash-chained log; the log -> intact, or the first bad line."""
