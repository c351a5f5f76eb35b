"""`make bench`: what a prediction costs, beside what people use today, in one run."""
