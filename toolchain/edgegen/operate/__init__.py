"""The field: serving, telemetry, drift, A/B, feedback."""
