"""OpenAI-compatible endpoints: chat completions over HTTP. The one package that imports openai."""
