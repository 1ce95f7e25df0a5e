"""Box -> what sealift changes on the machine itself: its systemd units."""
