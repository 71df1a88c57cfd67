"""Records to arrays: which frames, from which shard, into whose memory."""
