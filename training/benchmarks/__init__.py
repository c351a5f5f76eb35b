"""Public benchmarks: a bundle beside the models of a field's literature, on data that anybody can get."""
