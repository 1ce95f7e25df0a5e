"""VerifiedBundle -> files on the box: content-addressed objects and hardlinked release trees."""
