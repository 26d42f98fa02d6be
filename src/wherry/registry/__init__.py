"""Talking to image registries (OCI distribution 1.1): transport only, no store."""
