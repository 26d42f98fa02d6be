"""What an image is made of, as CycloneDX."""
