"""An OpenAI-compatible endpoint over a model's engine options: the engine kind's own server, kept up on the cluster."""
