"""Project + Target -> locked wheels, unpacked layers, SBOM."""
