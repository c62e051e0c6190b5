"""Readers: one module per source, one ``Frame`` type out."""
