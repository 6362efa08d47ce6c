"""The journal: runs, transitions and intents, on disk."""
