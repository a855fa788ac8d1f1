"""Hugging Face transformers as an engine: for models that vLLM does not load, and to compare vLLM with."""
