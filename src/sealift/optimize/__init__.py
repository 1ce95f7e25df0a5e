"""Optimize: Project -> Variants + QualityReport."""
