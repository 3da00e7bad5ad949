"""C steps of the learning-compression algorithm: the nearest tensor that a scheme can represent."""
