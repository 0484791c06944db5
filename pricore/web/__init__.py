"""HTTP: what Composer, webhooks, scripts, browsers and monitoring ask for, each in a module or a room."""
