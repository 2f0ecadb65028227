"""Integer impacts: quantised from weights, stored in shards, and scored exactly."""
