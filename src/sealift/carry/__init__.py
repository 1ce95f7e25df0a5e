"""Bundle -> medium, and its papers: volumes, checksums, what to type there, and a sheet to sign."""
