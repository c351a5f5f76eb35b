"""From trained boosters to a published bundle: compilation, certificate, scoring."""
