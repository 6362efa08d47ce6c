"""Pure data types: domains, policies, plans, outcomes and the one transition table."""
