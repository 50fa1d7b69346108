"""A source to a data set: jobs, the processes that do them, verification, an overview."""
