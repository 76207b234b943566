"""Commands: one function each, whose arguments and docstring are the command's options and help."""
