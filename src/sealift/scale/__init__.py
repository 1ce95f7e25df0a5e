"""Release -> what runs it elsewhere: OCI images."""
