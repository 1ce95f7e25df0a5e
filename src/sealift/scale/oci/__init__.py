"""VerifiedBundle -> OCI image layout."""
