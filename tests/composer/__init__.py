"""What Pricore writes for Composer: version entries, p2 documents, packages.json."""
