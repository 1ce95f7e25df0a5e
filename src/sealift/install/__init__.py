"""VerifiedBundle -> Release: stage, check, switch."""
