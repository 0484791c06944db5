"""Every line of SQL, one file a subject; each is a part of the store, held as `store.tokens` and so on."""
