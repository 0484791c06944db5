"""The machine and this process: child processes, threads, files, clock, log, metrics, the service manager."""
