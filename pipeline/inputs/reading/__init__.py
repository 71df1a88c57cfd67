"""Read records into arrays: choose the frames, open the shards, and supply the memory."""
