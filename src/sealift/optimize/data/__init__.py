"""Files -> Items: what a model is calibrated and judged on."""
