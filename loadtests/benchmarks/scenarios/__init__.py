"""What is measured together: each module starts its candidates, interleaves their rounds, and adds its metrics."""
