"""Pure data: domains, policies, plans, outcomes and the one transition table."""
