"""Toolstack drivers, which create, destroy and list domains: xl and embedded."""
