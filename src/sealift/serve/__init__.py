"""Release -> predictions: a supervisor that owns the socket, workers that answer on it."""
