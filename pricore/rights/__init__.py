"""Who may see what: the rules of a token on packages and versions, and what they leave of each package. Pure."""
