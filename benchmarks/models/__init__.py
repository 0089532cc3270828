"""The models that are measured: builders, sizes, and the cache they are kept in."""
