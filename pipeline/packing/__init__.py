"""Other people's feature files and label files to shards."""
