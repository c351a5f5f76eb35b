"""The line end to end, as its users meet it: the command line, the service as a process, HTTP."""
