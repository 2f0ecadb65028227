"""Other engines: what is exported for them, loaded into them and searched in them, all exact."""
