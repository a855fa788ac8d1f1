"""An OpenAI-compatible endpoint over a model's engine options: vLLM's own server, kept up on the cluster."""
