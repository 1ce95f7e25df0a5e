"""Drawn: QualityReport -> pieces of HTML and SVG that need nothing besides themselves."""
