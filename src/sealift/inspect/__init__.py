"""Bundle -> pages: what a person must see before it crosses, as text, HTML, a list and plain files."""
