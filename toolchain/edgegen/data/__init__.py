"""Sets with a digest, an origin and a preprocessing contract."""
