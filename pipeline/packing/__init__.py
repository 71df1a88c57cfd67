"""Other people's feature files and label files, and the shards that are made of them."""
