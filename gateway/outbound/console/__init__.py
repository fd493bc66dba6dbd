"""The vendor console: what arrived, what became of it, what would become of it."""
