"""What is handed over: bundle, OCI layout, bill of materials, verification."""
