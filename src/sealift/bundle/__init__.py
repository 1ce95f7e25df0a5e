"""Files <-> Bundle: the signed documents and the objects they name; reading gives a VerifiedBundle."""
