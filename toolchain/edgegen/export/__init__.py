"""One file a format; owner of the converters between forms."""
