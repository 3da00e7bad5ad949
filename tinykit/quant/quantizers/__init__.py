"""Kinds of quantizer: each a class, found by being in a module of this folder."""
