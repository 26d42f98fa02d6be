"""Keys, signatures and policies: which images may run."""
