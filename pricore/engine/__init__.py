"""What only one database engine has: its file, its schema, its connections."""
