"""Integer impacts: how weights become them, how they are stored, how they are scored exactly."""
