"""Numbers and events of a running release -> what people and machines watch."""
