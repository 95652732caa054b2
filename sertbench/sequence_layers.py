"""Blocks of the recurrent and attention architectures."""
