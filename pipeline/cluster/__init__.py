"""A run on Ray: connection, driver and its rounds, workers, coordinator, placement, failures."""
