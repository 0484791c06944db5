"""Git hosts: a file for each kind, with its line in `table`; what their APIs share; addresses of repositories."""
