"""Students that learn what a float parent answers."""
