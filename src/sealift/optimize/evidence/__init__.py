"""Answers of two models -> comparisons with an interval."""
