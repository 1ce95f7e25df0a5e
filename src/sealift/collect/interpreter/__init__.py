"""Archive or installed CPython -> an interpreter that runs wherever it lies."""
