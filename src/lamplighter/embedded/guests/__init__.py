"""The embedded host's simulated guests: kernel, agent and behaviour."""
