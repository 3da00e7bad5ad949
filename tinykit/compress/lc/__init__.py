"""The learning-compression algorithm, apart from its C steps (`tinykit.compress.csteps`)."""
