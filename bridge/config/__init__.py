"""Configuration: YAML with places, read into models; every problem found at once, each with where and what to do."""
