"""Quality and cost figures as pure functions over arrays."""
