"""The commands of `pltv` in groups, and what they share; each imports what it needs only when it runs."""
