"""The use cases, each once, for the API, the command line, pages and webhooks; and records as they are shown."""
